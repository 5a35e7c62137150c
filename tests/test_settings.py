"""Settings: one table, three ways in, and no silence about a name that nobody knows."""

from pathlib import Path

import pytest

from fileserve.settings import Settings, SettingsError, load_settings

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OWFiY2RlZg"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_argument_counts_before_environment_before_file_before_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().port == 8000
    (folder / "fileserve.toml").write_text("port = 1\n")
    assert load_settings().port == 1
    monkeypatch.setenv("FILESERVE_PORT", "2")
    assert load_settings().port == 2
    assert load_settings(port=3).port == 3


def test_sizes_are_written_with_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILESERVE_CHUNK_SIZE", "64KiB")
    assert load_settings().chunk_size == 65536


def test_an_unknown_variable_is_refused_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILESERVE_CHUNKSIZE", "64KiB")
    with pytest.raises(SettingsError, match=r"FILESERVE_CHUNKSIZE.*did you mean FILESERVE_CHUNK_SIZE"):
        load_settings()


def test_an_unknown_key_is_refused_with_a_suggestion(folder: Path) -> None:
    (folder / "fileserve.toml").write_text("ports = 9000\n")
    with pytest.raises(SettingsError, match=r"fileserve\.toml: ports.*did you mean port"):
        load_settings()


def test_broken_toml_names_the_file(folder: Path) -> None:
    (folder / "fileserve.toml").write_text("port =\n")
    with pytest.raises(SettingsError, match=r"fileserve\.toml"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "spelling"),
    [
        pytest.param("root", "/nonexistent", "DIR", id="missing_directory"),
        pytest.param("port", "99999", "--port", id="port_out_of_range"),
        pytest.param("chunk_size", "1", "--chunk-size", id="chunk_too_small"),
        pytest.param("etag", "md5", "--etag", id="choice"),
        pytest.param("root_path", "files/", "--root-path", id="root_path"),
        pytest.param("index_file", "/", "--index-file", id="index_that_is_a_directory"),
        pytest.param("index_file", "index.sqlite", "--index-file", id="index_that_would_be_served"),
        pytest.param("index_file", "/bin/sh", "--index-file", id="index_that_is_another_file"),
        pytest.param("auth", ["anna:secret"], "--auth", id="password_for_a_hash"),
        pytest.param("auth", [HASH], "--auth", id="hash_without_a_name"),
        pytest.param("auth", [f"anna:{HASH}", f"bert:{HASH[:-1]}"], "--auth", id="hash_that_is_cut_off"),
        *(
            pytest.param("auth", [f"anna:{HASH.replace(*changed)}"], "--auth", id=f"hash_with_{changed[1]}")
            for changed in (
                ("m=8", "m=4294967295"),
                ("m=8", "m=7"),
                ("m=8", "m=08"),
                ("t=1", "t=4294967295"),
                ("t=1", "t=0"),
                ("p=1", "p=9999"),
                ("v=19", "v=99999999999"),
            )
        ),
        pytest.param("auth", [f"anna:{HASH}", f"anna:{HASH}"], "--auth", id="name_twice"),
        pytest.param("token", "short", "--token", id="token_that_can_be_guessed"),
        pytest.param("token", "sixteen characters", "--token", id="token_with_a_space"),
        pytest.param("writable", ["/etc"], "--writable", id="absolute_folder"),
        pytest.param("writable", ["a/../.."], "--writable", id="folder_that_climbs"),
        pytest.param("writable", [""], "--writable", id="no_folder"),
        pytest.param("private", True, "--private", id="private_without_credentials"),
        pytest.param("replace", True, "--replace", id="replace_without_upload"),
        pytest.param("accel_redirect", "/_files/", "--accel-redirect", id="accel_without_a_trusted_proxy"),
        pytest.param("accel_redirect", "_files", "--accel-redirect", id="accel_that_is_no_location"),
        pytest.param("accel_redirect", "/download/", "--accel-redirect", id="accel_that_is_an_address"),
        pytest.param("accel_log", "/var/log/nginx/fileserve-accel.log", "--accel-log", id="log_of_nobody"),
        pytest.param("cache_control", "no-cache\r\nx: y", "--cache-control", id="field_injection"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_with_the_options_name(name: str, value: object, spelling: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: value})
    assert str(caught.value).startswith(spelling)
    assert "\n" not in str(caught.value)


def test_settings_reach_a_worker_through_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(
        root=folder,
        port=1,
        hidden=True,
        chunk_size="1MiB",
        etag="portable",
        root_path="/files",
        auth=[f"a:{HASH}", f"b:{HASH}"],
    )
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_what_is_empty_on_the_command_line_is_empty_in_a_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file says, also later; elsewhere, an empty variable counts for nothing."""
    given = {"trusted_proxies": "", "cache_control": "", "token": "", "accel_redirect": ""}
    (folder / "fileserve.toml").write_text(
        "trusted_proxies = '127.0.0.1'\naccel_redirect = '/_files/'\ntoken = 'sixteen-letters!'\ncache_control = 'file'"
    )
    monkeypatch.setenv("FILESERVE_CACHE_CONTROL", "environment")
    settings = load_settings(root=folder, **given)
    assert {name: getattr(settings, name) for name in given} == given
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
    (folder / "fileserve.toml").write_text("unknown = 1")  # changed for the next start
    assert load_settings() == settings


def test_accounts_are_several_in_each_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = (f"anna:{HASH}", f"bob:{HASH}")
    (folder / "fileserve.toml").write_text(f"auth = {list(accounts)}")
    assert load_settings().auth == accounts
    monkeypatch.setenv("FILESERVE_AUTH", " \n".join(accounts))
    assert load_settings().auth == accounts
    assert load_settings(auth=accounts[:1]).auth == accounts[:1]


def test_folders_may_have_spaces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "in coming").mkdir()
    (folder / "b" / "c").mkdir(parents=True)
    settings = load_settings(root=folder, writable=["in coming", "b/c/"])
    assert settings.writable == ("in coming", "b/c/")
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_a_secret_is_in_no_message_and_no_repr() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(auth=["anna:hidden-one"], token="hidden-two")
    assert "hidden" not in str(caught.value)
    assert HASH not in repr(load_settings(auth=[f"anna:{HASH}"]))


def test_a_running_servers_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("token", ["short", "x" * 15, "line\nbreak and more", "ünmistakably long"])
def test_a_token_that_does_not_do_is_refused_and_not_repeated(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILESERVE_OPERATOR_TOKEN", token)
    with pytest.raises(SettingsError, match="FILESERVE_OPERATOR_TOKEN") as refused:
        load_settings()
    assert token not in str(refused.value)


def test_a_token_reaches_a_worker_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(operator_token="sixteen-letters!")
    assert settings.to_environment()["FILESERVE_OPERATOR_TOKEN"] == "sixteen-letters!"
    assert "sixteen-letters!" not in repr(settings) + str(settings)

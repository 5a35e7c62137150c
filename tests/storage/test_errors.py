import errno

import pytest

from fileserve.storage.errors import (
    AlreadyExists,
    Busy,
    InvalidName,
    IsDirectory,
    LinkLoop,
    NameTooLong,
    NoSpace,
    NotDirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    NotRegular,
    OtherDevice,
    OutsideRoot,
    StorageError,
    Unreadable,
    from_os_error,
    os_errors,
    os_errors_of_changes,
)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        pytest.param(errno.ENOENT, NotFound, id="no_such_file"),
        pytest.param(errno.ESTALE, NotFound, id="gone_from_a_network_file_system"),
        pytest.param(errno.EILSEQ, InvalidName, id="bytes_that_the_file_system_cannot_store"),
        pytest.param(errno.ENAMETOOLONG, NameTooLong, id="name_too_long"),
        pytest.param(errno.ELOOP, LinkLoop, id="too_many_links"),
        pytest.param(errno.EXDEV, OutsideRoot, id="beneath_refused"),
        pytest.param(errno.EISDIR, IsDirectory, id="is_a_directory"),
        pytest.param(errno.ENOTDIR, NotDirectory, id="not_a_directory"),
        pytest.param(errno.ENXIO, NotRegular, id="socket_or_device_without_driver"),
        pytest.param(errno.EACCES, NotPermitted, id="no_permission"),
        pytest.param(errno.EMFILE, Busy, id="descriptors_of_the_process_used_up"),
        pytest.param(errno.ENFILE, Busy, id="descriptors_of_the_system_used_up"),
        pytest.param(errno.EAGAIN, Busy, id="held_by_a_lease"),
        pytest.param(errno.EEXIST, AlreadyExists, id="name_taken"),
        pytest.param(errno.ENOTEMPTY, NotEmpty, id="directory_not_empty"),
        pytest.param(errno.ENOSPC, NoSpace, id="disk_full"),
        pytest.param(errno.EDQUOT, NoSpace, id="quota_used_up"),
        pytest.param(errno.EIO, Unreadable, id="device_failed"),
        pytest.param(None, Unreadable, id="no_number"),
    ],
)
def test_each_error_number_has_one_storage_error(number: int | None, error: type[StorageError]) -> None:
    assert type(from_os_error(OSError(number, "text"))) is error


@pytest.mark.parametrize(
    ("number", "error"),
    [
        pytest.param(errno.EXDEV, OtherDevice, id="other_file_system"),
        pytest.param(errno.EROFS, NotPermitted, id="read_only_file_system"),
        pytest.param(errno.EACCES, NotPermitted, id="no_permission"),
        pytest.param(errno.ENOSPC, NoSpace, id="as_elsewhere"),
    ],
)
def test_for_changes_some_numbers_mean_something_else(number: int, error: type[StorageError]) -> None:
    with pytest.raises(error) as caught, os_errors_of_changes():
        raise OSError(number, "text")
    assert "reading" not in str(caught.value)


def test_the_cause_is_kept_and_its_path_is_not_told() -> None:
    cause = PermissionError(errno.EACCES, "Permission denied", "/srv/private/name")
    with pytest.raises(NotPermitted) as caught, os_errors():
        raise cause
    assert caught.value.__cause__ is cause
    assert "/srv" not in str(caught.value)


@pytest.mark.parametrize("error", StorageError.__subclasses__())
def test_each_error_says_its_own_sentence(error: type[StorageError]) -> None:
    assert str(error()) == error.sentence != StorageError.sentence
    assert str(error("a detail")) == "a detail"

"""What the benchmarks tell of what they have measured, and that they leave the machine as it was."""

from contextlib import suppress

import pytest

from benchmarks import machine, network, table
from benchmarks.figures import bench_transfer
from benchmarks.record import Record


def record_of(key: str, **values: list[float]) -> Record:
    record = Record()
    for peer, rounds in values.items():
        for value in rounds:
            record.add(peer, {key: value})
    return record


def test_a_target_is_judged_by_the_ratio_of_medians_and_shows_the_median_of_ratios_beside() -> None:
    """They differ where the machine was another from round to round."""
    record = record_of("ttfb_p50", fileserve=[2.0, 4.0, 5.0], nginx=[4.0, 1.0, 2.0])
    head, *rows = table.targets(record)
    (row,) = [row for row in rows if row[head.index("target")] == "time to first byte p50, idle"]
    assert (row[head.index("figure")], row[head.index("in rounds")], row[-1]) == ("2", "2.5", "reached")
    assert table.missed(record) == []


def test_a_client_that_was_the_bottleneck_is_told() -> None:
    record = record_of("client_busy_64_bbr", fileserve=[60.0, 95.0, 61.0], nginx=[99.0, 89.0, 99.0])
    (line,) = table.bottlenecks(record)
    assert "bottleneck of nginx" in line
    assert "64 streams, bbr" in line


@pytest.mark.parametrize(
    ("processor", "mask"),
    [(0, "1"), (3, "8"), (31, "80000000"), (32, "1,00000000"), (70, "40,00000000,00000000")],
)
def test_a_processor_is_named_as_the_kernel_reads_it(processor: int, mask: str) -> None:
    assert network._mask(processor) == mask


def test_the_machine_s_own_network_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "set_congestion_control", lambda name: pytest.fail("it was changed"))
    assert not network.is_private()
    assert network.steer(0) == "no private network namespace"
    record = Record()
    with pytest.raises(pytest.skip.Exception), bench_transfer._conditions(record, "bbr", 0):
        pytest.fail("it was measured")
    assert record.notes == ["left out: bbr, steered (the congestion control cannot be set here)"]


def test_after_other_conditions_all_is_as_it_was_for_the_figures_before(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []

    def steer(processor: int | None) -> None:
        steps.append(processor)

    def set_congestion_control(name: str) -> bool:
        steps.append(name)
        return True

    monkeypatch.setattr(network, "is_private", lambda: True)
    monkeypatch.setattr(network, "steer", steer)
    monkeypatch.setattr(network, "set_congestion_control", set_congestion_control)
    with suppress(ZeroDivisionError), bench_transfer._conditions(Record(), "bbr", None):
        raise ZeroDivisionError
    assert steps == ["bbr", None, network.USUAL, machine.SERVER]


def test_that_packets_cannot_be_steered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "is_private", lambda: True)
    monkeypatch.setattr(network, "set_congestion_control", lambda name: True)
    monkeypatch.setattr(network, "steer", lambda processor: "Permission denied")
    record = Record()
    with pytest.raises(pytest.skip.Exception), bench_transfer._conditions(record, "bbr", 7):
        pytest.fail("it was measured")
    assert record.notes == ["left out: bbr, steered (packets cannot be steered here: Permission denied)"]

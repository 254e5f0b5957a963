"""Telemetry from files in the shape of /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.machine.host import HostTelemetry, busy_cores, busy_ticks, snapshot, together
from bench.model.telemetry import HostFigures

S = 1_000_000_000
STATUS = "Name:\tpython\nVmPeak:\t    3060 kB\nVmHWM:\t    {peak} kB\nVmRSS:\t    {rss} kB\nThreads:\t1\n"


class Host:
    """A made-up machine of two cores."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        for folder in ("cpu0/cpufreq", "cpu1/cpufreq", "cpu0/thermal_throttle", "cpu1/thermal_throttle"):
            (self.sys / "devices/system/cpu" / folder).mkdir(parents=True)
        (self.sys / "fs/cgroup").mkdir(parents=True)
        for thread in ("11", "12"):
            (self.proc / "self/task" / thread).mkdir(parents=True)
        self.wait({"11": 5 * S, "12": 0})
        (self.proc / "self/clear_refs").touch()
        self.set(rss=1000, peak=5000, khz=(2_000_000, 2_600_000), load=0.5, throttled=(3, 4), quota=10)

    def wait(self, ns: dict[str, int]) -> None:
        for thread, waited in ns.items():
            (self.proc / "self/task" / thread / "schedstat").write_text(f"123456 {waited} 42\n")

    def set(
        self, *, rss: int, peak: int, khz: tuple[int, int], load: float, throttled: tuple[int, int], quota: int
    ) -> None:
        (self.proc / "self/status").write_text(STATUS.format(peak=peak, rss=rss))
        (self.proc / "loadavg").write_text(f"{load} 0.03 0.00 2/89 6406\n")
        (self.sys / "fs/cgroup/cpu.stat").write_text(f"usage_usec 5\nnr_periods 7\nnr_throttled {quota}\n")
        for core in (0, 1):
            folder = self.sys / f"devices/system/cpu/cpu{core}"
            (folder / "cpufreq/scaling_cur_freq").write_text(f"{khz[core]}\n")
            (folder / "thermal_throttle/core_throttle_count").write_text(f"{throttled[core]}\n")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_levels_are_of_the_end_and_counters_of_the_time_between(host: Host) -> None:
    watch = HostTelemetry(host.proc, host.sys)
    watch.start()
    host.set(rss=2000, peak=3000, khz=(1_500_000, 1_400_000), load=1.5, throttled=(4, 6), quota=15)
    watch.stop()
    host.set(rss=9999, peak=9999, khz=(1, 1), load=9.0, throttled=(9, 9), quota=99)  # too late to count
    figures = watch.finish()
    assert figures.rss_bytes == 2000 * 1024
    assert figures.peak_rss_bytes == 3000 * 1024
    assert figures.process_peak_rss_bytes == 5000 * 1024
    assert (figures.cpu_mhz_before, figures.cpu_mhz) == (2600, 1500)
    assert (figures.load_average_before, figures.load_average) == (0.5, 1.5)
    assert (figures.thermal_throttles, figures.quota_throttles) == (3, 5)
    assert figures.window_ns > 0
    assert {
        "major_faults",
        "minor_faults",
        "voluntary_switches",
        "involuntary_switches",
        "cores",
    } <= msgspec.to_builtins(figures).keys()


def test_the_mark_of_the_peak_is_reset_at_the_start(host: Host) -> None:
    watch = HostTelemetry(host.proc, host.sys)
    watch.start()
    assert (host.proc / "self/clear_refs").read_text() == "5"


def test_the_longest_wait_for_a_core_is_that_of_one_thread_in_the_time_between(host: Host) -> None:
    watch = HostTelemetry(host.proc, host.sys)
    watch.start()
    (host.proc / "self/task/13").mkdir()
    host.wait({"11": 5 * S + 100, "12": 3000, "13": 2000})
    watch.stop()
    assert watch.finish().longest_wait_ns == 3000


def test_without_a_start_there_are_levels_and_no_counters(host: Host) -> None:
    figures = HostTelemetry(host.proc, host.sys).finish()
    assert (figures.rss_bytes, figures.peak_rss_bytes) == (1000 * 1024, 5000 * 1024)
    assert not {"window_ns", "minor_faults", "quota_throttles", "longest_wait_ns"} & msgspec.to_builtins(figures).keys()


def test_without_a_stop_the_figures_are_of_now(host: Host) -> None:
    watch = HostTelemetry(host.proc, host.sys)
    watch.start()
    host.set(rss=1500, peak=6000, khz=(1, 1), load=0.1, throttled=(3, 4), quota=11)
    assert watch.finish().quota_throttles == 1
    assert watch.finish().rss_bytes == 1500 * 1024


def test_what_the_system_does_not_tell_is_left_out(tmp_path: Path) -> None:
    watch = HostTelemetry(tmp_path, tmp_path)
    watch.start()
    watch.stop()
    figures = watch.finish()
    assert (
        not {"longest_wait_ns", "peak_rss_bytes", "cpu_mhz", "load_average", "thermal_throttles"}
        & msgspec.to_builtins(figures).keys()
    )
    assert {"minor_faults", "window_ns"} <= msgspec.to_builtins(figures).keys()
    assert list(tmp_path.iterdir()) == []


def test_a_frequency_is_read_from_cpuinfo_where_there_is_no_cpufreq(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor: 0\ncpu MHz\t\t: 2596.122\n\nprocessor: 1\ncpu MHz\t\t: 3100.5\n")
    assert snapshot(tmp_path, tmp_path)["cpu_mhz"] == 3100.5


def test_a_file_of_another_shape_is_left_out(host: Host) -> None:
    (host.proc / "loadavg").write_text("")
    (host.proc / "self/status").write_text("VmRSS:\tunknown kB\nVmHWM:\n")
    (host.sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").write_text("<unknown>\n")
    found = snapshot(host.proc, host.sys)
    assert not {"load_average", "rss_bytes", "peak_rss_bytes"} & set(found)
    assert found["cpu_mhz"] == 2600


def test_the_real_host_tells_what_a_process_allocates() -> None:
    watch = HostTelemetry()
    watch.start()
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    watch.stop()
    figures = watch.finish()
    assert figures.peak_rss_bytes >= figures.rss_bytes > len(block)
    assert figures.process_peak_rss_bytes >= figures.peak_rss_bytes
    assert figures.minor_faults > 0


def test_ticks_of_idle_cores_and_of_waiting_for_a_disk_are_not_busy(tmp_path: Path) -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice
    assert busy_ticks("cpu  10 1 5 900 77 2 3 4 6 0\ncpu0 1 2\n") == 25
    assert busy_cores(tmp_path, seconds=0.01) == 0  # no such system
    (tmp_path / "stat").write_text("something else\n")
    assert busy_cores(tmp_path, seconds=0.01) == 0


def test_of_several_processes_the_one_that_waited_longest_has_the_switches_that_it_is_judged_by() -> None:
    own = HostFigures(window_ns=9, cores=2, rss_bytes=10, longest_wait_ns=5, involuntary_switches=200_000)
    other = HostFigures(window_ns=8, cores=1, rss_bytes=30, longest_wait_ns=70, involuntary_switches=3)
    both = together(own, [other, HostFigures(minor_faults=4)])
    assert (both.longest_wait_ns, both.involuntary_switches) == (70, 3)
    assert (both.rss_bytes, both.minor_faults) == (40, 4)
    assert (both.window_ns, both.cores) == (9, 2)
    assert together(own, []) == own

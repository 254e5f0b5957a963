"""Components of variance: worked by hand, and that seeded draws give back what they were drawn with."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.components import Component, Sample, components, share


def drawn(sets: int, sessions: int, builds: int, processes: list[int], sds: tuple[float, float, float], seed: int = 1):
    """Sets with ``processes`` in each build in turn, and the standard deviations of process, build and session."""
    rng = np.random.default_rng(seed)
    process_sd, build_sd, session_sd = sds
    for level in range(sets):
        samples = []
        for session in range(sessions):
            of_session = level + session_sd * rng.standard_normal()
            for build in range(builds):
                of_build = of_session + build_sd * rng.standard_normal()
                count = processes[(session * builds + build) % len(processes)]
                logs = of_build + process_sd * rng.standard_normal(count)
                samples += [Sample(log, session, build) for log in logs.tolist()]
        yield samples


@pytest.mark.parametrize("processes", [[3], [2, 3, 7]])
@pytest.mark.parametrize("sds", [(0.01, 0.02, 0.03), (0.02, 0.0, 0.01), (0.01, 0.03, 0.0)])
def test_draws_give_back_the_components(sds: tuple[float, float, float], processes: list[int]) -> None:
    whole = components(drawn(1000, 3, 3, processes, sds))
    assert whole.process is not None
    assert whole.build is not None
    assert whole.session is not None
    assert (whole.build.dof, whole.session.dof, whole.session.sets) == (6000, 2000, 1000)
    for component, sd in zip(whole, sds, strict=True):
        assert component.sd == pytest.approx(sd, rel=0.05) if sd else component.sd < 0.004


def test_two_sessions_by_hand() -> None:
    # Means 1 and 3 of two processes each; variance within 2; between (2 * (1 + 1) - 2) / 2 = 1.
    samples = [Sample(0.0, "a"), Sample(2.0, "a"), Sample(2.0, "b"), Sample(4.0, "b")]
    whole = components([samples])
    assert whole.process == Component(pytest.approx(2**0.5), 2, 1, pytest.approx(2.0))
    assert whole.session == Component(pytest.approx(1.0), 1, 1, pytest.approx(2.0))  # of the means 1 and 3
    assert whole.build is None


def test_a_level_without_two_groups_has_no_component() -> None:
    assert components([]) == (None, None, None)
    assert components([[Sample(1.0)]]) == (None, None, None)
    # One process in each session: what is between sessions cannot be told from what is between processes.
    assert components([[Sample(1.0, 0), Sample(2.0, 1)]]) == (None, None, None)
    alike = components([[Sample(1.0, session) for session in (0, 0, 1, 1)]])
    assert (alike.process, alike.session) == (Component(0.0, 2, 1, 0.0), Component(0.0, 1, 1, 0.0))


def test_sets_may_differ_in_their_processes() -> None:
    sets = [*drawn(400, 2, 1, [5], (0.002, 0, 0.01)), *drawn(400, 2, 1, [5], (0.03, 0, 0.01), seed=2)]
    whole = components(sets)
    assert whole.session is not None
    assert whole.session.sd == pytest.approx(0.01, rel=0.15)


def test_the_share_of_groups() -> None:
    assert share([0, 0, 0]) == 1
    assert share([0, 1, 2, 3]) == pytest.approx(1 / 4)
    assert share([0, 0, 0, 1]) == pytest.approx(10 / 16)

import pytest

from benchmarks.speed import scaling


def test_model_is_recovered_from_its_speeds() -> None:
    model = scaling.Model(2e-3, 5e-3, 3e-4)
    measured = [
        scaling.Measurement(ranks, n_envs, [model.speed(ranks, n_envs)], model.efficiency(ranks, n_envs))
        for ranks in (1, 2)
        for n_envs in scaling.N_ENVS
    ]
    fitted = scaling.fitted(measured)
    assert [fitted.fixed, fitted.per_env, fitted.per_hop] == pytest.approx([2e-3, 5e-3, 3e-4])
    # a rollout of 10 environments on 3 ranks: 150 steps in 2 + 50 + 4 * 0.3 milliseconds
    assert fitted.speed(3, 10) == pytest.approx(150 / 53.2e-3)
    assert fitted.efficiency(3, 10) == pytest.approx(52 / 53.2)

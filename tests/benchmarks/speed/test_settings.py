import pytest

from benchmarks.speed.settings import COMPILED, SETTINGS, learn


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.compiled_env])
def test_compiled_arm_trains_in_compiled_code(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = SETTINGS[name].make_compiled_models()[COMPILED]
    model.verbose = 1
    assert learn(model, 20 * model.n_envs) == 20 * model.n_envs
    assert "Training in compiled code" in capsys.readouterr().out


def test_tuned_setting_normalizes_every_arm() -> None:
    setting = SETTINGS["cartpole-tuned-1"]
    models = setting.make_models("cpu") | setting.make_compiled_models()
    assert [model.get_vec_normalize_env().gamma for model in models.values()] == [0.995] * 4  # type: ignore[union-attr]
    _, tuned, *ours = models.values()
    assert {len(list(model.policy.parameters())) for model in ours} == {12}
    assert {tuned.gamma, *(model.gamma for model in ours)} == {0.995}  # type: ignore[attr-defined]
    # A2C's optimizer stays in A2C
    assert {type(model.policy.optimizer).__name__ for model in ours} == {"AdamTFLike"}


def test_general_setting_compares_the_default_a2c_with_recommended_settings() -> None:
    setting = SETTINGS["cartpole-general-1"]
    a2c, *ours = (setting.make_models("cpu") | setting.make_compiled_models()).values()
    assert (a2c.n_steps, a2c.get_vec_normalize_env()) == (5, None)  # type: ignore[attr-defined]
    assert [(model.n_steps, model.normalize_observations) for model in ours] == [(2, True)] * 3  # type: ignore[attr-defined]

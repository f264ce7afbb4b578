"""RL Zoo's scripts run as docs/zoo.md says, each in its own process and with fewer steps."""

import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from stable_baselines3.common.monitor import load_results

from sb3_a2c_td import TDA2C, MaskableTDA2C, RecurrentTDA2C
from sb3_a2c_td.hyperparams.tda2c import hyperparams
from tests.algorithms.comparing import assert_same_parameters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.zoo,
    pytest.mark.filterwarnings("ignore:.* was trained in VecNormalize"),
    pytest.mark.skipif(find_spec("rl_zoo3") is None, reason="needs the extra zoo"),
]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "zoo.md").read_text()
SHORT = "--num-threads 1 --seed 0 --log-interval 50"
"""options that make every training run short and reproducible"""

COMMANDS = {
    name: f"python -m sb3_a2c_td.zoo {command}"
    for name, command in {
        "train": "train --algo tda2c --env CartPole-v1",
        "enjoy": "enjoy --algo tda2c --env CartPole-v1 -f logs",
        "record": "record --algo tda2c --env CartPole-v1 -f logs -n 1000",
        "resume": "train --algo tda2c --env CartPole-v1 -i logs/tda2c/CartPole-v1_1/CartPole-v1.zip",
        "processes": "train --algo tda2c --env CartPole-v1 --save-freq 10000 --vec-env subproc -params n_envs:2",
        "tracking": "train --algo tda2c --env CartPole-v1 --track",
        "own settings": "train --algo tda2c --env CartPole-v1 --conf-file mine.yml",
        "MinAtar": "train --algo tda2c --env MinAtar/Breakout-v1",
        "recurrent": "train --algo tda2c_lstm --env sb3_a2c_td/TMaze-v0",
        "search": "train --algo tda2c --env CartPole-v1 --optimize --n-trials 100 --storage logs/study.log "
        "--study-name first",
        "trial": "train --algo tda2c --env CartPole-v1 --storage logs/study.log --study-name first --trial-id 1",
        "all plots": "plots all_plots -a tda2c -e CartPole-v1 -f logs --no-million -o results",
        "training plot": "plots plot_train -a tda2c -e CartPole-v1 -f logs",
        "plot again": "plots plot_from_file -i results -o results.png --format png",
        "push": "push_to_hub --algo tda2c --env CartPole-v1 -f logs -orga me",
        "load": "load_from_hub --algo tda2c --env CartPole-v1 -f logs -orga me",
    }.items()
}
"""the command lines of the page"""


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a command line in a folder, and return what it printed."""
    python, *arguments = shlex.split(command)
    assert python == "python"
    # the repository first, since the package need not be installed
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "agg", "SDL_VIDEODRIVER": "dummy", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def config_of(run_folder: Path) -> dict[str, Any]:
    """Read the settings that RL Zoo saved; they contain classes."""
    (path,) = run_folder.glob("*/config.yml")
    return dict(yaml.unsafe_load(path.read_text()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 300 steps, three checkpoints and three evaluations."""
    folder = tmp_path_factory.mktemp("trained")
    run(f"{COMMANDS['train']} -n 300 --save-freq 100 --eval-freq 100 --eval-episodes 2 {SHORT}", folder)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the folder with the run."""
    return shutil.copytree(trained, tmp_path / "copy")


def test_every_command_of_the_page_is_tested() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert sorted("".join(blocks).splitlines()) == sorted(COMMANDS.values())


def test_train_saves_models_evaluations_and_settings(trained: Path) -> None:
    logs = trained / "logs" / "tda2c" / "CartPole-v1_1"
    for name in ("rl_model_100_steps", "rl_model_200_steps", "rl_model_300_steps", "best_model", "CartPole-v1"):
        # loads without trusted=True
        model = TDA2C.load(logs / f"{name}.zip", device="cpu")
        assert model.gamma == hyperparams["CartPole-v1"]["gamma"]
    assert model.num_timesteps == 300
    assert model.lr_schedule(0.5) == pytest.approx(0.000119 / 2)
    assert model.critic_lr_schedule(0.5) == pytest.approx(0.000352 / 2)
    np.testing.assert_array_equal(np.load(logs / "evaluations.npz")["timesteps"], [100, 200, 300])
    assert load_results(str(logs))["l"].sum() <= 300
    shipped = {**hyperparams["CartPole-v1"], "normalize": {"norm_reward": True, "gamma": 0.995}}
    assert config_of(logs) == shipped


def test_train_resumes_a_model_and_its_statistics(folder: Path) -> None:
    run(f"{COMMANDS['resume']} -n 40 --eval-freq -1 {SHORT}", folder)
    first, second = (TDA2C.load(folder / f"logs/tda2c/CartPole-v1_{n}/CartPole-v1.zip", device="cpu") for n in (1, 2))
    assert second.num_timesteps == 40
    assert second._n_updates == first._n_updates + 20
    # the statistics began with those of the first 300 steps and their first observation
    (statistics,) = folder.glob("logs/tda2c/CartPole-v1_2/*/vecnormalize.pkl")
    assert pickle.loads(statistics.read_bytes()).obs_rms.count == pytest.approx(301 + 41, abs=0.01)


def test_train_steps_environments_in_processes(tmp_path: Path) -> None:
    run(f"{COMMANDS['processes']} -n 40 --save-freq 20 --eval-freq -1 {SHORT}", tmp_path)
    logs = tmp_path / "logs/tda2c/CartPole-v1_1"
    for n_steps in (20, 40):
        model = TDA2C.load(logs / f"rl_model_{n_steps}_steps.zip", device="cpu")
        assert (model.n_envs, model.num_timesteps) == (2, n_steps)
    assert {path.name for path in logs.glob("*.monitor.csv")} == {"0.monitor.csv", "1.monitor.csv"}


def test_train_logs_to_weights_and_biases(tmp_path: Path) -> None:
    run(f"{COMMANDS['tracking']} -n 200 --eval-freq -1 {SHORT}", tmp_path, WANDB_MODE="offline", WANDB_SILENT="true")
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert kept.stat().st_size > 1_000
    (events,) = tmp_path.glob("runs/*/CartPole-v1/TDA2C_1")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags = EventAccumulator(str(events)).Reload().Tags()["scalars"]
    assert {"rollout/ep_rew_mean", "train/critic_learning_rate", "train/td_error"} <= set(tags)


def test_train_takes_the_users_settings(tmp_path: Path) -> None:
    (settings,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.yml").write_text(settings)
    run(f"{COMMANDS['own settings']} -n 40 --eval-freq -1 {SHORT}", tmp_path)
    model = TDA2C.load(tmp_path / "logs/tda2c/CartPole-v1_1/CartPole-v1.zip", device="cpu")
    assert model.n_envs == 2
    assert model.lr_schedule(0.5) == pytest.approx(2.5e-4)
    assert model.critic_lr_schedule(0.5) == pytest.approx(5e-4)
    assert model.policy.net_arch == [64, 64]


def test_train_plays_minatar(tmp_path: Path) -> None:
    run(f"{COMMANDS['MinAtar']} -n 40 --eval-freq -1 {SHORT}", tmp_path)
    model = TDA2C.load(tmp_path / "logs/tda2c/MinAtar-Breakout-v1_1/MinAtar-Breakout-v1.zip", device="cpu")
    assert model.observation_space.shape == (4, 10, 10)
    assert model.num_timesteps == 40


def test_train_takes_observations_that_cannot_be_normalized(tmp_path: Path) -> None:
    run(f"python -m sb3_a2c_td.zoo train --algo tda2c --env CliffWalking-v1 -n 40 --eval-freq -1 {SHORT}", tmp_path)
    assert TDA2C.load(tmp_path / "logs/tda2c/CliffWalking-v1_1/CliffWalking-v1.zip", device="cpu").num_timesteps == 40


def test_enjoy_shows_the_model(folder: Path) -> None:
    shown = run(f"{COMMANDS['enjoy']} -n 100", folder)
    assert "Mean reward" in shown
    assert "Observations are normalized by the statistics in logs/tda2c/CartPole-v1_1/CartPole-v1.zip" in shown


def test_train_searches_and_takes_the_settings_of_a_trial(folder: Path) -> None:
    command = COMMANDS["search"].replace("--n-trials 100", "--n-trials 3")
    run(f"{command} -n 60 --eval-episodes 1 --no-optim-plots {SHORT}", folder)
    import optuna

    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "logs/study.log")))
    trials = optuna.load_study(study_name="first", storage=storage).trials
    assert len(trials) == 3
    assert {trial.state.name for trial in trials} == {"COMPLETE"}

    # a search leaves a folder without a model
    assert not list(folder.glob("logs/tda2c/CartPole-v1_2/*.zip"))
    assert "Mean reward" in run(f"{COMMANDS['enjoy']} --no-render -n 100 --exp-id 1", folder)

    run(f"{COMMANDS['trial']} -n 20 --eval-freq -1 {SHORT}", folder)
    model = TDA2C.load(folder / "logs/tda2c/CartPole-v1_3/CartPole-v1.zip", device="cpu")
    drawn = trials[1].params
    assert model.n_steps == drawn["n_steps"]
    assert model.gamma == drawn["gamma"]
    assert model.lr_schedule(1.0) == pytest.approx(drawn["learning_rate"], rel=0.01)
    assert model.critic_lr_schedule(1.0) == pytest.approx(drawn["learning_rate"] * drawn["critic_rate_ratio"], rel=0.01)


def test_record_writes_a_video(folder: Path) -> None:
    run(f"{COMMANDS['record']} -n 30", folder)
    (video,) = folder.glob("logs/tda2c/CartPole-v1_1/videos/*.mp4")
    import imageio_ffmpeg

    n_frames, _ = imageio_ffmpeg.count_frames_and_secs(str(video))
    assert n_frames >= 30


def test_plots_are_saved_without_a_display(folder: Path) -> None:
    shutil.copytree(folder / "logs/tda2c/CartPole-v1_1", folder / "logs/tda2c/CartPole-v1_2")
    assert "TDA2C" in run(COMMANDS["all plots"], folder)
    with (folder / "results.pkl").open("rb") as file:
        np.testing.assert_array_equal(pickle.load(file)["CartPole-v1"]["TDA2C-logs"]["timesteps"], [100, 200, 300])
    run(f"{COMMANDS['training plot']} -w 3", folder)
    run(COMMANDS["plot again"], folder)
    from matplotlib import image

    for name in ("Results CartPole-v1.png", "Training Episodic Reward.png", "results.png"):
        # the picture is not empty
        assert len(np.unique(image.imread(folder / name).reshape(-1, 4), axis=0)) > 20


def test_a_model_is_pushed_to_the_hub_and_loaded(folder: Path, tmp_path: Path) -> None:
    """The Hub's own client downloads from a local server; uploads are patched to write to a folder."""
    from tests.zoo.hub import serving

    hub = tmp_path / "hub"
    push = COMMANDS["push"].replace("sb3_a2c_td.zoo", f"tests.zoo.hub {hub}")
    run(f"{push} --no-render", folder)
    card = (hub / "me/tda2c-CartPole-v1/README.md").read_text()
    assert "python -m sb3_a2c_td.zoo enjoy --algo tda2c --env CartPole-v1" in card
    assert "rl_zoo3." not in card
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "stable-baselines3"

    with serving(hub) as address:
        environment = {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            "TRUST_REMOTE_CODE": "True",
        }
        # as in the repository of a model without VecNormalize
        (hub / "me/tda2c-CartPole-v1/vec_normalize.pkl").unlink()
        assert "No normalization file" in run(COMMANDS["load"], folder, **environment)
    logs = folder / "logs/tda2c"
    before, after = (TDA2C.load(logs / f"CartPole-v1_{n}/CartPole-v1.zip", device="cpu") for n in (1, 2))
    assert_same_parameters(before, after)
    assert config_of(logs / "CartPole-v1_2") == config_of(logs / "CartPole-v1_1")


def test_a_recurrent_model_is_trained_and_shown(tmp_path: Path) -> None:
    run(f"{COMMANDS['recurrent']} -n 200 --eval-freq 100 --eval-episodes 2 {SHORT}", tmp_path)
    model = RecurrentTDA2C.load(tmp_path / "logs/tda2c_lstm/sb3_a2c_td-TMaze-v0_1/sb3_a2c_td-TMaze-v0.zip")
    assert model.num_timesteps == 200
    run(f"{COMMANDS['recurrent'].replace('train', 'enjoy')} -f logs -n 50 --no-render", tmp_path)


def test_a_masked_model_takes_no_forbidden_action(tmp_path: Path) -> None:
    """The environment raises at a forbidden action in training, in evaluations, and while ``enjoy`` shows it."""
    algorithm = "--algo tda2c_maskable --env MaskedCartPole-v0 --gym-packages tests.zoo.masked_cartpole"
    arguments = f"-n 200 --eval-freq 100 --eval-episodes 2 -params normalize:False n_envs:1 {SHORT}"
    run(f"python -m sb3_a2c_td.zoo train {algorithm} {arguments}", tmp_path)
    logs = tmp_path / "logs/tda2c_maskable/MaskedCartPole-v0_1"
    assert MaskableTDA2C.load(logs / "MaskedCartPole-v0.zip").num_timesteps == 200
    np.testing.assert_array_equal(np.load(logs / "evaluations.npz")["timesteps"], [100, 200])
    run(f"python -m sb3_a2c_td.zoo enjoy {algorithm} -f logs -n 100 --no-render --stochastic", tmp_path)

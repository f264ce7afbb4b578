"""What is logged about episodes, steps and time."""

import sys
import time

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import safe_mean

from sb3_a2c_td.rollout.validation import check_episode


def record_progress(model: OnPolicyAlgorithm, iteration: int) -> None:
    """Record the keys of SB3's ``dump_logs``, for every output format.

    SB3 itself excludes ``time/iterations``, ``time/time_elapsed`` and ``time/total_timesteps`` from TensorBoard.

    :param model: the model in training
    :param iteration: the number of rollouts since ``learn`` began; 0: ``time/iterations`` is not recorded
    :raises ValueError: if an environment has put anything but a return and a length into ``info["episode"]``
    """
    assert model.ep_info_buffer is not None
    assert model.ep_success_buffer is not None
    seconds = max((time.time_ns() - model.start_time) / 1e9, sys.float_info.epsilon)
    record = model.logger.record
    if iteration > 0:
        record("time/iterations", iteration)
    for episode in model.ep_info_buffer:
        check_episode(episode)
    if model.ep_info_buffer:
        record("rollout/ep_rew_mean", safe_mean([episode["r"] for episode in model.ep_info_buffer]))
        record("rollout/ep_len_mean", safe_mean([episode["l"] for episode in model.ep_info_buffer]))
    record("time/fps", int((model.num_timesteps - model._num_timesteps_at_start) / seconds))
    record("time/time_elapsed", int(seconds))
    record("time/total_timesteps", model.num_timesteps)
    if model.ep_success_buffer:
        record("rollout/success_rate", safe_mean(model.ep_success_buffer))

"""Floating-point operations per step, which no engine can save."""

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.settings import Setting, learn


def megaflops_per_step(setting: Setting, device: str, n_steps: int) -> dict[str, float]:
    """Count PyTorch's floating-point operations during the training of each arm.

    :param setting: what to train on
    :param device: device of the policies
    :param n_steps: environment steps to train
    :return: millions of operations per environment step, by arm
    """
    megaflops = {}
    for arm, model in setting.make_models(device).items():
        learn(model, n_steps)
        with FlopCounterMode(display=False) as counter:
            n_taken = learn(model, n_steps)
        megaflops[arm] = counter.get_total_flops() / n_taken / 1e6
    return megaflops

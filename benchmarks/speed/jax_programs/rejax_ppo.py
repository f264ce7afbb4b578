"""rejax's PPO on gymnax's CartPole-v1, as close to TDA2C as its settings allow.

rejax has no A2C. PPO with one epoch of one batch, λ = 0 and no entropy bonus takes A2C's updates, except that it
normalizes advantages. Both of its networks have the same widths and the same learning rate.
"""

from typing import Any

import jax
from rejax import PPO
from rejax.evaluate import evaluate

from benchmarks.speed.jax_programs.training import Training

N_STEPS = 5
"""steps of each environment in a rollout"""
N_EVALUATIONS = 100
"""episodes of the evaluation after a training"""


def make_training(n_envs: int, n_steps: int) -> Training:
    """Compile a training from scratch.

    :param n_envs: the number of environments
    :param n_steps: environment steps, rounded up
    """
    rollout = n_envs * N_STEPS
    n_steps = -(-n_steps // rollout) * rollout
    algorithm = PPO.create(
        env="CartPole-v1",
        num_envs=n_envs,
        num_steps=N_STEPS,
        num_minibatches=1,
        num_epochs=1,
        gae_lambda=0.0,
        gamma=0.99,
        ent_coef=0.0,
        vf_coef=1.0,
        learning_rate=5e-4,
        agent_kwargs={"hidden_layer_sizes": (32, 16), "activation": "relu"},
        total_timesteps=n_steps,
        eval_freq=n_steps,
        skip_initial_evaluation=True,
    )
    # its evaluation would be part of the training
    algorithm = algorithm.replace(eval_callback=lambda algorithm, state, key: ())
    train = jax.jit(algorithm.train).lower(jax.random.key(0)).compile()

    def mean_return(state: Any) -> float:
        act, max_steps = algorithm.make_act(state), algorithm.env_params.max_steps_in_episode
        _, returns = evaluate(act, jax.random.key(0), algorithm.env, algorithm.env_params, N_EVALUATIONS, max_steps)
        return float(returns.mean())

    return Training(
        run=lambda seed: jax.block_until_ready(train(jax.random.key(seed))[0]),
        mean_return=mean_return,
        n_steps=n_steps,
    )

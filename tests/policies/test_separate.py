import functools
from functools import partial

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn

from sb3_a2c_td import AdamTFLike, CnnPolicy, MlpPolicy, MultiInputPolicy, SeparateActorCriticPolicy

VECTOR = spaces.Box(-1, 1, (3,))
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
DICT = spaces.Dict({"image": IMAGE, "vector": VECTOR, "number": spaces.Discrete(4)})
CASES = [(MlpPolicy, VECTOR), (CnnPolicy, IMAGE), (MultiInputPolicy, DICT)]


def build(policy_class: type[SeparateActorCriticPolicy], observation_space: spaces.Space, **kwargs):
    action_space = kwargs.pop("action_space", spaces.Discrete(2))
    return policy_class(observation_space, action_space, lambda _: 3e-4, **kwargs)


def some_observations(space: spaces.Space, n: int = 5):
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: th.as_tensor(np.stack([sample[key] for sample in samples])) for key in space.spaces}
    return th.as_tensor(np.stack(samples))


def shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_mlp_policy_has_the_reference_networks() -> None:
    policy = build(MlpPolicy, VECTOR)
    assert shapes(policy.mlp_extractor.policy_net) + shapes(policy.action_net) == [(32, 3), (16, 32), (2, 16)]
    critic = shapes(policy.mlp_extractor.value_net) + shapes(policy.value_net)
    assert critic == [(32, 3), (16, 32), (16, 16), (1, 16)]
    activations = [layer for layer in policy.mlp_extractor.modules() if not list(layer.children())]
    assert {type(layer) for layer in activations} == {nn.Linear, nn.ReLU}
    assert type(policy.optimizer) is AdamTFLike
    assert policy.optimizer.param_groups[0]["eps"] == 1e-7


def test_linear_layers_are_initialized_as_in_keras() -> None:
    """Glorot: uniform in ±sqrt(6 / (fan_in + fan_out)), zero biases."""
    policy = build(MlpPolicy, VECTOR, net_arch=[400, 300])
    for layer in policy.modules():
        if isinstance(layer, nn.Linear):
            limit = np.sqrt(6 / sum(layer.weight.shape))
            weights = layer.weight.detach().numpy().ravel()
            assert np.abs(weights).max() <= limit
            assert np.abs(weights).max() > 0.9 * limit
            assert weights.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)
            assert not layer.bias.any()


@pytest.mark.parametrize(("policy_class", "observation_space"), CASES)
def test_ortho_init_matches_sb3(policy_class, observation_space) -> None:
    policy = build(policy_class, observation_space, ortho_init=True, net_arch=[8])
    weight = policy.action_net.weight.detach()
    th.testing.assert_close(weight @ weight.T, 1e-4 * th.eye(2), rtol=1e-4, atol=1e-8)
    weight = policy.value_net.weight.detach()
    th.testing.assert_close(weight @ weight.T, th.ones(1, 1))


def test_cnn_policy_has_two_of_sb3s_cnns() -> None:
    policy = build(CnnPolicy, IMAGE)
    assert isinstance(policy.pi_features_extractor, NatureCNN)
    assert isinstance(policy.vf_features_extractor, NatureCNN)
    assert policy.pi_features_extractor is not policy.vf_features_extractor
    assert policy.net_arch == []
    assert policy.ortho_init
    conv = policy.vf_features_extractor.cnn[0].weight.detach().flatten(1)
    th.testing.assert_close(conv @ conv.T, 2 * th.eye(len(conv)), rtol=1e-4, atol=1e-5)


def test_features_extractors_keep_their_weights() -> None:
    class Pretrained(NatureCNN):
        def __init__(self, observation_space, features_dim=8):
            super().__init__(observation_space, features_dim)
            nn.init.constant_(self.linear[0].weight, 0.5)

    policy = build(MlpPolicy, IMAGE, features_extractor_class=Pretrained)
    assert (policy.vf_features_extractor.linear[0].weight == 0.5).all()


@pytest.mark.parametrize(("policy_class", "observation_space"), CASES)
@pytest.mark.parametrize("use_sde", [False, True])
def test_groups_hold_the_parameters_that_each_output_depends_on(policy_class, observation_space, use_sde) -> None:
    """Checked by gradients rather than names."""
    policy = build(policy_class, observation_space, action_space=spaces.Box(-1, 1, (2,)), use_sde=use_sde)
    actor, critic = policy.optimizer.param_groups
    assert (actor["name"], critic["name"]) == ("actor", "critic")
    assert {id(p) for p in policy.parameters()} == {id(p) for group in (actor, critic) for p in group["params"]}

    observations = some_observations(observation_space)
    distribution = policy.get_distribution(observations)
    distribution.log_prob(distribution.get_actions().detach()).sum().backward()
    assert all(param.grad is not None for param in actor["params"])
    assert all(param.grad is None for param in critic["params"])
    policy.zero_grad()
    policy.predict_values(observations).sum().backward()
    assert all(param.grad is None for param in actor["params"])
    assert all(param.grad is not None for param in critic["params"])


@pytest.mark.parametrize(("policy_class", "observation_space"), CASES)
def test_shared_extractor_is_rejected(policy_class, observation_space) -> None:
    with pytest.raises(ValueError, match="share_features_extractor=True.*must not share.*omit the argument"):
        build(policy_class, observation_space, share_features_extractor=True)


@pytest.mark.parametrize(("policy_class", "observation_space"), CASES)
@pytest.mark.parametrize("use_sde", [False, True])
def test_policy_survives_saving(policy_class, observation_space, use_sde, tmp_path) -> None:
    policy = build(policy_class, observation_space, action_space=spaces.Box(-1, 1, (2,)), use_sde=use_sde)
    policy.save(str(tmp_path / "policy.pth"))
    loaded = policy_class.load(str(tmp_path / "policy.pth"), device="cpu")

    assert type(loaded) is policy_class
    assert not loaded.share_features_extractor
    assert loaded.pi_features_extractor is not loaded.vf_features_extractor
    assert loaded.state_dict().keys() == policy.state_dict().keys()
    assert all(th.equal(loaded.state_dict()[key], value) for key, value in policy.state_dict().items())
    observations = some_observations(observation_space)
    assert th.equal(loaded.predict_values(observations), policy.predict_values(observations))
    mean, loaded_mean = (p.get_distribution(observations).mode() for p in (policy, loaded))
    assert th.equal(mean, loaded_mean)
    assert [group["name"] for group in loaded.optimizer.param_groups] == ["actor", "critic"]


def test_policy_kwargs_match_sb3() -> None:
    kwargs = {
        "net_arch": {"pi": [7], "vf": [9, 8]},
        "activation_fn": nn.Tanh,
        "features_extractor_class": NatureCNN,
        "features_extractor_kwargs": {"features_dim": 11},
        "normalize_images": False,
        "optimizer_class": th.optim.RMSprop,
        "optimizer_kwargs": {"alpha": 0.5},
    }
    normalized_image = spaces.Box(0, 1, (3, 36, 36), np.float32)
    policy = build(MlpPolicy, normalized_image, **kwargs)
    theirs = ActorCriticPolicy(
        normalized_image, spaces.Discrete(2), lambda _: 3e-4, share_features_extractor=False, **kwargs
    )
    state, their_state = policy.state_dict(), theirs.state_dict()
    assert {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in their_state.items()}
    assert type(policy.optimizer) is th.optim.RMSprop
    for group in policy.optimizer.param_groups:
        assert group["alpha"] == 0.5
        assert group["lr"] == 3e-4

    theirs.load_state_dict(state)
    observations = some_observations(normalized_image)
    assert th.equal(theirs.predict_values(observations), policy.predict_values(observations))


def test_pytorch_adam_gets_sb3s_epsilon() -> None:
    policy = build(MlpPolicy, VECTOR, optimizer_class=th.optim.Adam)
    assert policy.optimizer.param_groups[1]["eps"] == 1e-5


@pytest.mark.parametrize("value", ["relu", None, nn.ReLU(), nn.functional.relu, th.relu])
def test_an_activation_must_be_a_class(value) -> None:
    with pytest.raises(ValueError, match="^activation_fn=.* must be a class such as torch.nn.Tanh, not its name"):
        build(MlpPolicy, VECTOR, activation_fn=value)


def test_an_activation_may_be_a_function_that_makes_one() -> None:
    for activation_fn in (partial(nn.LeakyReLU, 0.2), lambda: nn.LeakyReLU(0.2)):
        policy = build(MlpPolicy, VECTOR, activation_fn=activation_fn)
        assert policy.mlp_extractor.policy_net[1].negative_slope == 0.2


@pytest.mark.parametrize(
    "value",
    ["64", 64, [64.0], [0], [64, {"pi": [32]}], {"pi": 64}, {"pi": ["64"]}, {"vf": [-1]}, {"pi": [8], "qf": [8]}],
)
def test_an_invalid_net_arch_is_refused(value) -> None:
    with pytest.raises(ValueError, match=r"^net_arch=.*: use a list of widths such as \[64, 64\], or dict\(pi=\[.*vf="):
        build(MlpPolicy, VECTOR, net_arch=value)


@pytest.mark.parametrize("value", [(8, 8), [np.int64(8)], {"pi": (8,)}, {"vf": []}, {}])
def test_other_forms_of_net_arch_are_accepted(value) -> None:
    build(MlpPolicy, VECTOR, net_arch=value)


@pytest.mark.parametrize("name", ["optimizer_class", "features_extractor_class"])
def test_classes_must_not_be_names(name) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be a class such as \S+, got 'adam'"):
        build(MlpPolicy, VECTOR, **{name: "adam"})


@pytest.mark.parametrize("policy_class", [CnnPolicy, MultiInputPolicy])
def test_images_must_not_be_smaller_than_the_cnn_supports(policy_class) -> None:
    for height, width in ((7, 7), (35, 36), (36, 35)):
        image = spaces.Box(0, 255, (3, height, width), np.uint8)
        observation_space = spaces.Dict(small=image, vector=VECTOR) if policy_class is MultiInputPolicy else image
        message = rf"^observation_space=.* {height}x{width} pixels.* at least 36x36.* features_extractor_class"
        with pytest.raises(ValueError, match=message):
            build(policy_class, observation_space)


def test_sb3_names_what_is_no_image() -> None:
    for space in (VECTOR, spaces.Box(0, 1, (7, 7, 3))):
        with pytest.raises(AssertionError, match="You should use NatureCNN only with images"):
            build(CnnPolicy, space)


def test_normalized_images_must_not_be_smaller_than_the_cnn_supports() -> None:
    with pytest.raises(ValueError, match="7x7 pixels"):
        build(CnnPolicy, spaces.Box(0, 1, (3, 7, 7)), normalize_images=False)


class CustomExtractor(nn.Module):
    """A user's network as in SB3's documentation, with uninformative layer names."""

    def __init__(self, shares: bool) -> None:
        super().__init__()
        self.latent_dim_pi = self.latent_dim_vf = 4
        self.first, self.second = nn.Linear(3, 4), nn.Linear(3, 4)
        self.unused = nn.Linear(1, 1)
        self.shares = shares

    def forward_actor(self, features: th.Tensor) -> th.Tensor:
        return self.second(features)

    def forward_critic(self, features: th.Tensor) -> th.Tensor:
        return self.first(features) + (self.second(features) if self.shares else 0)


class CustomPolicy(SeparateActorCriticPolicy):
    shares = False

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = CustomExtractor(self.shares)


def test_custom_network_is_split_by_its_outputs() -> None:
    policy = build(CustomPolicy, VECTOR)
    names = {id(param): name for name, param in policy.named_parameters()}
    assert {names[id(param)].rpartition(".")[0] for param in policy.critic_parameters()} == {
        "mlp_extractor.first",
        "value_net",
    }
    assert {names[id(param)].rpartition(".")[0] for param in policy.actor_parameters()} == {
        "mlp_extractor.second",
        "mlp_extractor.unused",
        "action_net",
    }


def test_networks_that_a_subclass_builds_keep_their_weights() -> None:
    """They may be trained already. The layers after them are initialized as in Keras."""

    class Trained(CustomPolicy):
        def _build_mlp_extractor(self) -> None:
            super()._build_mlp_extractor()
            nn.init.constant_(self.mlp_extractor.first.weight, 0.5)

    policy = build(Trained, VECTOR)
    assert (policy.mlp_extractor.first.weight == 0.5).all()
    assert (policy.value_net.bias == 0.0).all()


@pytest.mark.parametrize("method", ["forward", "evaluate_actions", "extract_features"])
def test_methods_that_are_never_called_are_rejected(method: str) -> None:
    # with the name and module of the original
    own = functools.wraps(getattr(ActorCriticPolicy, method))(lambda self, *_: None)
    replaced = type("Replaced", (SeparateActorCriticPolicy,), {method: own, "__module__": __name__})
    with pytest.raises(ValueError, match=f"Replaced.{method} would have no effect: TDA2C acts by .*get_distribution"):
        build(replaced, VECTOR)


def test_unknown_arguments_of_the_optimizer_are_named() -> None:
    message = "optimizer_kwargs has {!r}, and AdamTFLike takes betas, eps, with learning_rate .*torch.optim.Adam"
    for name in ("weight_decay", "lr"):
        with pytest.raises(ValueError, match=message.format(name)):
            build(SeparateActorCriticPolicy, VECTOR, optimizer_kwargs={name: 1e-4})
    build(SeparateActorCriticPolicy, VECTOR, optimizer_class=th.optim.AdamW, optimizer_kwargs={"weight_decay": 1e-4})


def test_shared_layer_is_rejected() -> None:
    class Sharing(CustomPolicy):
        shares = True

    with pytest.raises(ValueError, match=r"Sharing: .*must not share.*: mlp_extractor\.second\.weight, mlp_ext.*bias$"):
        build(Sharing, VECTOR)


def test_frozen_parameters_stay_frozen_and_in_their_group() -> None:
    class Frozen(NatureCNN):
        def __init__(self, observation_space, features_dim=8):
            super().__init__(observation_space, features_dim)
            self.requires_grad_(False)

    policy = build(CnnPolicy, IMAGE, features_extractor_class=Frozen)
    critic = {id(param) for param in policy.critic_parameters()}
    for param in policy.vf_features_extractor.parameters():
        assert not param.requires_grad
        assert id(param) in critic


def test_sb3_policies_can_be_made_separate() -> None:
    class Doubling(ActorCriticPolicy):
        def _get_action_dist_from_latent(self, latent_pi):
            return super()._get_action_dist_from_latent(2 * latent_pi)

    class SeparateDoubling(SeparateActorCriticPolicy, Doubling):
        pass

    policy, plain = build(SeparateDoubling, VECTOR), build(MlpPolicy, VECTOR)
    assert [group["name"] for group in policy.optimizer.param_groups] == ["actor", "critic"]
    assert not policy.share_features_extractor
    plain.load_state_dict(policy.state_dict())
    observations, actions = some_observations(VECTOR), th.zeros(5)
    latent = plain.mlp_extractor.forward_actor(plain.extract_features(observations)[0])
    expected = plain._get_action_dist_from_latent(2 * latent).log_prob(actions)
    assert th.equal(policy.get_distribution(observations).log_prob(actions), expected)
    assert not th.equal(plain.get_distribution(observations).log_prob(actions), expected)

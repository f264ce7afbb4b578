"""Actors in ONNX, for runtimes without PyTorch."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch as th

from sb3_a2c_td.export import packages
from sb3_a2c_td.export.actor import Actor, inputs_of
from sb3_a2c_td.export.checking import sampled_observations
from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.export.metadata import metadata_of
from sb3_a2c_td.rollout.observations import Observations

OPSET = 18
"""what PyTorch writes since 2.8; runtimes since 2023 have it"""
ACTION = "action"


def to_onnx(actor: Actor) -> bytes:
    """Write an actor in ONNX.

    :param actor: the actor
    :raises ExportError: if PyTorch cannot, which is for networks of your own only, or an observation's key is "action"
    :return: the file: what the actor's ``inputs`` name goes in, in batches of any size, "action" comes out
    """
    with packages.needed():
        import onnx
        import onnxscript  # noqa: F401  PyTorch's exporter imports it
    if ACTION in actor.inputs:
        raise ExportError(
            f"the observation's key {ACTION!r} is what the output is called in ONNX files, which cannot have a name "
            "twice: export to safetensors, or train with another key"
        )
    # PyTorch takes a batch of one for one that is always one
    example = tuple(map(th.as_tensor, inputs_of(sampled_observations(actor.observation_space, 2))))
    batch = th.export.Dim("batch")
    try:
        with _quietly():
            program = th.onnx.export(
                actor,
                example,
                input_names=list(actor.inputs),
                output_names=[ACTION],
                dynamic_shapes=(tuple({0: batch} for _ in example),),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except th.onnx.OnnxExporterError as error:
        raise ExportError(
            "PyTorch cannot write these networks in ONNX, which has no branches that depend on the observations: "
            f"{error.__cause__ or error}"
        ) from error
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        # it tells where the code lies on this machine
        node.ClearField("metadata_props")
    onnx.helper.set_model_props(proto, metadata_of(actor))
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ExportError(
            f"what PyTorch wrote is no valid ONNX file: {error}; its inputs are called {', '.join(actor.inputs)}: if a "
            "name is in the way, export to safetensors"
        ) from error
    return bytes(proto.SerializeToString())


@contextmanager
def _quietly() -> Iterator[None]:
    """Hush PyTorch, which warns of its own insides and of packages that no actor needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def acting_onnx(content: bytes) -> Callable[[Observations], np.ndarray]:
    """Give the function that a file computes, on the CPU.

    :param content: the file
    """
    with packages.needed():
        import onnxruntime
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def act(observations: Observations) -> np.ndarray:
        (actions,) = session.run([ACTION], dict(zip(names, inputs_of(observations), strict=True)))
        return np.asarray(actions)

    return act

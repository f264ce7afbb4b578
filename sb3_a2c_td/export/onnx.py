"""Actors as ONNX graphs, for runtimes without PyTorch."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch as th

from sb3_a2c_td import extras
from sb3_a2c_td.export.actor import Actor, inputs_of
from sb3_a2c_td.export.checking import sampled_observations
from sb3_a2c_td.export.errors import ExportError
from sb3_a2c_td.export.metadata import metadata_of
from sb3_a2c_td.rollout.observations import Observations

OPSET = 18
"""the version that PyTorch writes since 2.8; runtimes since 2023 support it"""
ACTION = "action"
"""the name of the output"""


def to_onnx(actor: Actor) -> bytes:
    """Convert an actor to ONNX.

    :param actor: the actor
    :return: the content of the file. The inputs have the names of the actor's ``inputs``, in batches of any size; the
        output is called "action"
    :raises ExportError: if PyTorch cannot convert a custom network, or if a key of the observations is "action"
    """
    with extras.needed("export", "exporting"):
        import onnx
        import onnxscript  # noqa: F401  PyTorch's exporter imports it
    if ACTION in actor.inputs:
        raise ExportError(
            f"the observation's key {ACTION!r} is the name of the output too, and names in ONNX files are unique: "
            "export to safetensors, or train with another key"
        )
    # two observations: PyTorch would treat a batch of one as constant
    example = tuple(map(th.as_tensor, inputs_of(sampled_observations(actor.observation_space, 2))))
    batch = th.export.Dim("batch")
    try:
        with _without_warnings():
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
            "PyTorch cannot convert these networks to ONNX, which has no branches that depend on the observations: "
            f"{error.__cause__ or error}"
        ) from error
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        # it contains the paths of the code on this machine
        node.ClearField("metadata_props")
    onnx.helper.set_model_props(proto, metadata_of(actor))
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ExportError(
            f"PyTorch's output is not valid ONNX: {error}. If one of the inputs' names ({', '.join(actor.inputs)}) "
            "is the cause, export to safetensors"
        ) from error
    return bytes(proto.SerializeToString())


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress PyTorch's warnings about its own internals and about packages that actors do not need."""
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
    """Return the function that a file computes, on the CPU.

    :param content: the content of the file
    """
    with extras.needed("export", "exporting"):
        import onnxruntime
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def act(observations: Observations) -> np.ndarray:
        (actions,) = session.run([ACTION], dict(zip(names, inputs_of(observations), strict=True)))
        return np.asarray(actions)

    return act

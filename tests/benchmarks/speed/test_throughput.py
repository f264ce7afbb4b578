from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

from benchmarks.speed import throughput
from tests.benchmarks.speed import rows_of


def measured(setting: str, arm: str, speed: float, ratio: float) -> throughput.Measurement:
    return throughput.Measurement(setting, 1, arm, [speed], ratio, 1.0)


def test_summary_has_the_ratios_of_each_setting() -> None:
    measurements = [
        measured("one", "A2C, 16 environments", 300, 0.5),
        measured("one", "A2C, 64 environments", 600, 1.0),
        measured("one", "TDA2C, compiled", 1.2e6, 2_000.0),
        measured("two", "A2C", 1_000, 1.0),
        measured("two", "the environments alone", 50_000, 50.0),
    ]
    assert rows_of(throughput.summary(measurements)) == [
        ["`one`", "600", "2,000.0", "–"],
        ["`two`", "1,000", "–", "50.0"],
    ]


def event(device: DeviceType, start: int, end: int, is_user_annotation: bool = False) -> FunctionEvent:
    return FunctionEvent(
        id=0,
        name="",
        thread=0,
        start_us=start,
        end_us=end,
        device_type=device,
        is_user_annotation=is_user_annotation,
    )


def test_a_gpu_is_busy_with_computations_and_copies() -> None:
    events = [
        event(DeviceType.CPU, 0, 100),
        event(DeviceType.CUDA, 10, 30),
        event(DeviceType.CUDA, 50, 55),
        event(DeviceType.CUDA, 10, 55, is_user_annotation=True),
    ]
    assert throughput.gpu_microseconds(events) == 25

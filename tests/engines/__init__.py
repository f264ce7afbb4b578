from sb3_a2c_td.engines import ENGINES

CPU_ENGINES = [engine for engine in ENGINES if engine != "cuda"]

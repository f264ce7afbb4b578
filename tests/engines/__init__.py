from sb3_a2c_td.engines import ENGINES

CPU_ENGINES = [engine for engine in ENGINES if engine != "cuda"]
MLP_ENGINES = [engine for engine in CPU_ENGINES if engine != "auto"]
"""the engines that "auto" chooses from for a plain MLP"""
CLOSED_FORM_ENGINES = [engine for engine in MLP_ENGINES if engine != "autograd"]
"""the engines that support plain MLPs only"""

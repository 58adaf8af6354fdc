"""All sources of a simulated board, from board.json and scenario.json."""

from clampdevice.hal.sim.accelerometer import Accelerometer
from clampdevice.hal.sim.adc import Adc
from clampdevice.hal.sim.inputs import Inputs
from clampdevice.hal.sim.wave import sine_table


def make_sources(config: dict, scenario: dict) -> dict:
    """Sources by name: those of "adc", "accelerometer" and "inputs" that the board has.

    Args:
        config: the checked content of board.json.
        scenario: content of scenario.json; see `wave`.
    """
    sine = sine_table()
    channels = config["channels"]
    sources: dict = {}
    parts = config["sources"]
    if "adc" in parts:
        sources["adc"] = Adc(parts["adc"], channels, scenario, sine)
    if "accelerometer" in parts:
        sources["accelerometer"] = Accelerometer(parts["accelerometer"], channels, scenario, sine)
    if "inputs" in parts:
        sources["inputs"] = Inputs(channels, scenario)
    return sources

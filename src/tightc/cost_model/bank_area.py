"""Area of the network from the banks of the activation buffer to the lanes."""

from __future__ import annotations

from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.bank_network import BankNetwork


def network_um2(network: BankNetwork, rows: int, fan_in: int, table: AreaTable) -> float:
    """um2 of `network` on one array of so many `rows` and inputs to a lane, by `table`.

    Each lane input has a multiplexer of the banks that its lane sees, and a register that holds its word until the step
    is complete: that of a processing element less the same with wires. Where a lane does not see all banks, a rotator
    of 2:1 multiplexers stands before them.
    """
    multiplexers = rows * fan_in * table.network_input_area(network.reach)
    rotator = network.banks * network.rotator_levels * table.network_input_area(2)
    return multiplexers + rotator + rows * table.lane_registers_area(fan_in)

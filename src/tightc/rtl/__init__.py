"""The array as SystemVerilog, with the memory images of a network, and its simulation by Icarus and Verilator."""

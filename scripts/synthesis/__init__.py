"""Area, timing and energy of the array's parts by synthesis; scripts/synthesise.py is the command."""

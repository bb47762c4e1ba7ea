"""How long tests wait for what must come: so long that only a hang is longer, however busy the machine is."""

HANG = 3600  # seconds

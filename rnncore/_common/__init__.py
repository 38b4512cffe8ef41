"""What every floor may use: objects that are sealed, arrays in memory, groups of arrays."""

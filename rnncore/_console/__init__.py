"""What commands share: streams, signals, files to write, tables to print."""

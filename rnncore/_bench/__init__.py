"""rnncore beside other libraries: what `rnncore bench` and the suites in benchmarks/ share.

Nothing of the package imports it but the command, and each library only where it is measured.
"""

"""Why gates matter, measured: the parts of the command `rnncore gates`.

`vanishing` and `exploding` gradients, the `agreement` of a verb with a far noun, and what the
`memory` keeps in between. Each computes numbers; `figures` draws them, `story` tells them, and
`command` runs it all.
"""

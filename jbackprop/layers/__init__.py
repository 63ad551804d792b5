"""The rules: one module a layer, each with the trio `f`, `f_fwd`, `f_bwd`.

Nothing is re-exported here: `jbackprop.layers.linear` must stay the module, not the function of that name.
The functions are exported flat by `jbackprop`.
"""

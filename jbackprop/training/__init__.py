"""Training on real data: configuration, data, state, jitted step and epoch, loop, run folder, plots.

Needs the extra `train`: `pip install 'jbackprop[train]'`.
"""

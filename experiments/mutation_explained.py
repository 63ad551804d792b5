"""Mutants that survive because they compute the same, each with the reason. Anything else that survives is a gap."""

ARRAY = "what follows turns NumPy arrays into JAX arrays itself"
ONE = "the axis has length 1, and JAX clamps an index behind its end"
SURPLUS = "more padding than needed behind the end, which the slice cuts off again"
SUM_OF_ONE = "one JAX array makes the sum or difference one"
TWO_KEYS = "two independent keys: either order draws the same distribution"
SEPARATE_NAMES = "no parameter has the name of an input, and values are looked up by name: the order is never seen"
NO_SUCH_SIZE = (
    "no integer dtype lies between the two bounds; int32 to int32 and uint32 (out of range either way) change nothing"
)
DENSE_SHAPES = (
    "return {'conv': [{'w': shape, 'b': shape[-1:]} for shape in conv], "
    "'dense': [{'w': shape, 'b': shape[-1:]} for shape in dense]}"
)

# file -> function -> (old statement, new statement) -> why no test can tell them apart
EXPLAINED: dict[str, dict[str, dict[tuple[str, str], str]]] = {
    "layers/windows.py": {
        "windows_per_element": {
            ("return -(-axis.window // axis.stride)", new): "windows that end before the element add nothing, only work"
            for new in ("return -(-axis.window * axis.stride)", "return --axis.window")
        },
        "windows_around": {
            (
                "return (windows_per_element(axis) - 1, _blocks(axis) - axis.outputs)",
                f"return (windows_per_element(axis) - 1, {new})",
            ): SURPLUS
            for new in ("_blocks(axis) + axis.outputs", "_blocks(axis)")
        },
        "_blocks": {
            ("return -(-(axis.low + axis.size) // axis.stride)", new): SURPLUS
            for new in ("return -(-(axis.low + axis.size) * axis.stride)", "return --(axis.low + axis.size)")
        },
    },
    "layers/conv2d_of_images.py": {
        "has_few_channels": {
            ("p, q, i, o = w.shape", "q, p, i, o = w.shape"): "height and width are multiplied and nothing else",
        },
    },
    "layers/max_pool.py": {
        "max_pool_fwd": {("x = jnp.asarray(x)", new): ARRAY for new in ("pass", "x = x")},
    },
    "layers/window_winners.py": {
        "maximum_and_winner": {
            (
                "best, column = _running(padded, columns, -2, lambda column: jnp.asarray(column, dtype))",
                "best, column = _running(padded, columns, -2, lambda column: column)",
            ): "a Python integer takes the dtype of the rows' places, which are added to it",
        },
        "_running": {
            (
                "for offset in range(1, axis.window):",
                "for offset in range(0, axis.window):",
            ): "compares the first element with itself once more",
            ("if (first_real == offset).any():", "if True:"): "the condition only spares an or with nothing",
        },
        "place_of_elements": {
            (
                "return np.where((i < rows.window) & (j < columns.window), i * columns.window + j, -1)[:, :, None]",
                f"return np.where({new}, i * columns.window + j, -1)[:, :, None]",
            ): "a row behind the window's end gives a place that no winner has (a column would give the next row's)"
            for new in ("j < columns.window", "(i <= rows.window) & (j < columns.window)")
        },
    },
    "layers/avg_pool.py": {
        "_sums_over_windows": {
            (
                "dx = dx + jnp.where(inside, over_elements(share, axis, along, which), 0)",
                "dx = dx - jnp.where(inside, over_elements(share, axis, along, which), 0)",
            ): "runs once along each of two axes: the signs cancel",
        },
    },
    "layers/stable_softmax.py": {
        "maximum": {
            (
                "return jax.lax.stop_gradient(jnp.max(z, axis, keepdims=True))",
                "return jnp.max(z, axis, keepdims=True)",
            ): "m cancels in everything made from it, and so does its derivative: stopping it only spares work",
        },
    },
    "layers/sharding.py": {
        "cotangent_of": {
            (
                "return (jax.lax.psum(wide, shared) if shared else wide).astype(primal.dtype)",
                "return jax.lax.psum(wide, shared).astype(primal.dtype)",
            ): "the sum over no axis is the array itself",
        },
        "explicit_sharding": {
            (
                "if jax.sharding.AxisType.Explicit not in getattr(sharding.mesh, 'axis_types', ()):",
                "if False:",
            ): "elsewhere the sharding names no axis, and a product that is told it is traced to the same program",
        },
    },
    "layers/softmax_cross_entropy.py": {
        "softmax_cross_entropy_fwd": {
            (
                "J = jnp.where(in_range, jnp.log(s) - shift(z_label, m), nan(s.dtype))[..., 0]",
                "J = jnp.where(in_range, jnp.log(s) - shift(z_label, m), nan(s.dtype))[..., 1]",
            ): ONE,
            (
                "z_label = jnp.take_along_axis(z, index, -1, mode='clip')",
                "z_label = jnp.take_along_axis(z, index, -1)",
            ): "what lies out of range is replaced by NaN in the next line",
        },
    },
    "layers/class_indices.py": {
        "class_indices": {
            ("if labels.dtype.itemsize < 4:", new): NO_SUCH_SIZE
            for new in ("if labels.dtype.itemsize <= 4:", "if labels.dtype.itemsize < 3:")
        },
    },
    "layers/static_arguments.py": {
        "custom_vjp_with_static": {
            (
                "return jax.custom_vjp(function, nondiff_argnums=positions)",
                "return jax.custom_vjp(function)",
            ): "runs when a rule is defined, before a mutant is put in: without it no rule with options can be called",
        },
    },
    "layers/mean_squared_error.py": {
        "mean_squared_error_fwd": {
            ("error = jnp.asarray(target) - jnp.asarray(prediction)", new): SUM_OF_ONE
            for new in ("error = target - jnp.asarray(prediction)", "error = jnp.asarray(target) - prediction")
        },
    },
    "layers/squared_error.py": {
        "squared_error_fwd": {
            ("error = jnp.asarray(target) - jnp.asarray(prediction)", new): SUM_OF_ONE
            for new in ("error = target - jnp.asarray(prediction)", "error = jnp.asarray(target) - prediction")
        },
    },
    "networks/deep.py": {
        "init": {
            (
                "alpha = normal_weights(key_alpha, (sizes[-1], 1), dtype)[:, 0]",
                "alpha = normal_weights(key_alpha, (sizes[-1], 1), dtype)[:, 1]",
            ): ONE,
        },
        "forward": {
            (
                "return (prediction[..., 0], Residuals(inputs, z_T))",
                "return (prediction[..., 1], Residuals(inputs, z_T))",
            ): ONE,
        },
        "backward": {
            (
                "return {'layers': dlayers, 'alpha': dalpha[:, 0]}",
                "return {'layers': dlayers, 'alpha': dalpha[:, 1]}",
            ): ONE,
        },
        "loss": {
            (
                "return mean_squared_error(prediction[..., 0], y)",
                "return mean_squared_error(prediction[..., 1], y)",
            ): ONE,
        },
    },
    "networks/regression.py": {
        "init": {
            (
                "key1, key2 = jax.random.split(key)",
                "key2, key1 = jax.random.split(key)",
            ): TWO_KEYS,
        },
        **{
            function: {
                ("if prediction.size == 1:", new): "the mean over one element is that element"
                for new in ("if False:", "if prediction.size == 0:")
            }
            for function in ("loss", "loss_and_grads")
        },
    },
    "networks/two_layer.py": {
        "init": {("key1, key2 = jax.random.split(key)", "key2, key1 = jax.random.split(key)"): TWO_KEYS},
    },
    "networks/cnn_checks.py": {
        "parameter_shapes": {
            (
                DENSE_SHAPES,
                DENSE_SHAPES.replace("shape[-1:]} for shape in dense", "shape[1:]} for shape in dense"),
            ): "a matrix has two axes: from the second on is the last",
        },
    },
    "networks/graph.py": {
        function: {
            (
                "values = {**_declared_params(params, graph), **_named_inputs(x, graph)}",
                "values = {**_named_inputs(x, graph), **_declared_params(params, graph)}",
            ): SEPARATE_NAMES,
        }
        for function in ("forward", "loss")
    },
    "networks/graph_rules.py": {
        "add_fwd": {
            ("return (jnp.asarray(a) + jnp.asarray(b), Residuals())", new): SUM_OF_ONE
            for new in ("return (a + jnp.asarray(b), Residuals())", "return (jnp.asarray(a) + b, Residuals())")
        },
        "add_bwd": {("return (da, db)", "return (db, da)"): "both are dz"},
    },
    "networks/graph_structure.py": {
        "_topological_order": {
            (
                "ordered, waiting, known = ([], list(nodes), set(known))",
                f"ordered, waiting, known = {new}",
            ): "the copy spares the caller's collection, which it does not read again"
            for new in ("([], nodes, set(known))", "([], list(nodes), known)")
        },
    },
}


def explanation(file: str, function: str, old: str, new: str) -> str | None:
    """Returns the reason, or None for a mutant that a test should kill."""
    return EXPLAINED.get(file, {}).get(function, {}).get((old, new))

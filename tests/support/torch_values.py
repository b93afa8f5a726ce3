"""Comparing what torch loaded."""
import torch


def same(a, b):
    """Equal types, values and tensors, all the way down."""
    assert type(a) is type(b), (type(a), type(b))
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.requires_grad == b.requires_grad
        assert a.layout == b.layout and a.is_quantized == b.is_quantized
        if a.is_quantized:
            assert a.qscheme() == b.qscheme()
            assert torch.equal(a.int_repr(), b.int_repr())
        elif a.layout == torch.sparse_coo:
            same(a.coalesce().indices(), b.coalesce().indices())
            same(a.coalesce().values(), b.coalesce().values())
        elif a.layout == torch.sparse_csr:
            # Their storages have bytes that nothing reaches.
            assert torch.equal(a.crow_indices(), b.crow_indices())
            assert torch.equal(a.col_indices(), b.col_indices())
            assert torch.equal(a.values(), b.values())
        else:
            assert a.stride() == b.stride()
            assert a.storage_offset() == b.storage_offset()
            # Strided: all bytes of the storage, whatever the views reach.
            x, y = (torch.empty(0, dtype=torch.uint8).set_(
                t.detach().untyped_storage()) for t in (a, b))
            assert torch.equal(x, y)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
        same(vars(a) if hasattr(a, "__dict__") else None,
             vars(b) if hasattr(b, "__dict__") else None)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b, (a, b)


def tensors_in(value, name=""):
    """(name, tensor) of every dense tensor, all the way down."""
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided and not value.is_quantized:
            yield name, value
        return
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return
    for key, item in items:
        yield from tensors_in(item, f"{name}.{key}")


def sharing(value):
    """Which tensors lie in one storage: sets of names."""
    groups = {}
    for name, tensor in tensors_in(value):
        # Of empty storages, all have the same address.
        if tensor.untyped_storage().nbytes():
            groups.setdefault(tensor.untyped_storage().data_ptr(),
                              set()).add(name)
    return sorted(map(sorted, groups.values()))

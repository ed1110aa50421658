"""DistributedDataParallel: a model in several processes, each with a part of the batch."""

from contextlib import contextmanager

import livegrad
from livegrad.distributed import together

from ..module import Module
from .reducer import Reducer
from .scatter_gather import scatter_kwargs

__all__ = ["DistributedDataParallel"]

BUCKET_MB = 25


class DistributedDataParallel(Module):
    """Runs ``module`` in each process of a group, with the same parameters and the average of all gradients.

    At the start, parameters and buffers are those of the group's first process; before each forward pass so are the
    buffers, unless not ``broadcast_buffers``. During `backward`, gradients are averaged bucket by bucket
    (``bucket_cap_mb``), and all processes have the same when it returns: an optimizer then takes the same step in each.
    The wrapped module's names begin with ``module.``.

    find_unused_parameters: some parameters may get no gradient in a pass; what none of the processes has used keeps
    the gradient that it has. static_graph: the same parameters are used in each pass, some of them several times, as
    with checkpoints; nothing is sent before the pass is over. device_ids: the one GPU of the module, or None.

    ValueError before `distributed.init_process_group`; RuntimeError for a module without parameters to train, and
    where processes have models of other shapes.

    >>> import livegrad
    >>> livegrad.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> model = livegrad.nn.parallel.DistributedDataParallel(livegrad.nn.Linear(2, 1))
    >>> [name for name, _ in model.named_parameters()]
    ['module.weight', 'module.bias']
    >>> livegrad.distributed.destroy_process_group()
    """

    def __init__(
        self, module, device_ids=None, output_device=None, dim=0, broadcast_buffers=None, init_sync=True,
        process_group=None, bucket_cap_mb=None, find_unused_parameters=False, check_reduction=False,
        gradient_as_bucket_view=False, static_graph=False, delay_all_reduce_named_params=None,
        param_to_hook_all_reduce=None, mixed_precision=None, device_mesh=None, skip_all_reduce_unused_params=False,
        bucket_cap_mb_list=None, batched_grad_copy=False, forward_sync_buffers=None,
    ):  # fmt: skip
        super().__init__()
        group = livegrad.distributed.group.WORLD if process_group is None else process_group
        livegrad.distributed.get_world_size(group)
        ignored = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        trained = {n: p for n, p in module.named_parameters() if p.requires_grad and n not in ignored}
        if not trained:
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a "
                "gradient."
            )
        for option, name in ((mixed_precision, "mixed_precision"), (device_mesh, "device_mesh"),
                             (delay_all_reduce_named_params, "delay_all_reduce_named_params")):  # fmt: skip
            if option is not None:
                raise NotImplementedError(f"DistributedDataParallel with {name} is not there")
        places = {p.device for p in module.parameters()}
        if device_ids and any(place.type == "cpu" for place in places):
            raise ValueError(
                "DistributedDataParallel device_ids and output_device arguments only work with single-device GPU "
                f"modules, but got device_ids {list(device_ids)}, output_device {output_device}, and module parameters "
                f"on {', '.join(map(str, places))}."
            )
        self.module = module
        self.process_group = group
        self.dim = dim
        self.device_ids = list(device_ids) if device_ids else None
        self.output_device = output_device
        self.broadcast_buffers = broadcast_buffers is None or bool(broadcast_buffers)
        self.find_unused_parameters = find_unused_parameters
        self.static_graph = static_graph
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.bucket_bytes_cap = int((BUCKET_MB if bucket_cap_mb is None else bucket_cap_mb) * (1 << 20))
        self.require_backward_grad_sync = True
        self.require_forward_param_sync = True
        self._ignored = ignored
        self.reducer = None
        if group.size() > 1:
            together.same_shapes(group, {n: p for n, p in module.named_parameters() if n not in ignored})
            if init_sync:
                together.broadcast_all(group, [*self._shared(module.named_parameters()), *self._buffers_shared()])
            self.reducer = Reducer(
                list(trained),
                list(trained.values()),
                group,
                self.bucket_bytes_cap,
                find_unused_parameters,
                static_graph,
            )

    def _shared(self, named):
        return [t for name, t in named if name not in self._ignored]

    def _buffers_shared(self):
        return self._shared(self.module.named_buffers())

    def forward(self, *inputs, **kwargs):
        syncing = livegrad.is_grad_enabled() and self.require_backward_grad_sync
        if self.reducer is not None:
            if syncing:
                self.reducer.check_finished()
            if self.require_forward_param_sync and self.broadcast_buffers:
                buffers = self._buffers_shared()
                if buffers:
                    together.broadcast_all(self.process_group, buffers)
        if self.device_ids:
            places, named = scatter_kwargs(inputs, kwargs, self.device_ids, self.dim)
            inputs, kwargs = (places or ((),))[0], (named or ({},))[0]
        outputs = self.module(*inputs, **kwargs)
        self.require_forward_param_sync = syncing
        if self.reducer is not None:
            if syncing:
                self.reducer.prepare(outputs)
            else:
                self.reducer.expecting = False
        return outputs

    @contextmanager
    def no_sync(self):
        """What runs forward inside has its gradients added up here alone; the next pass outside averages all.

        >>> import livegrad
        >>> livegrad.distributed.init_process_group("gloo", rank=0, world_size=1)
        >>> model = livegrad.nn.parallel.DistributedDataParallel(livegrad.nn.Linear(2, 1))
        >>> with model.no_sync():
        ...     model(livegrad.ones(1, 2)).sum().backward()
        >>> model(livegrad.ones(1, 2)).sum().backward()
        >>> model.module.bias.grad
        tensor([2.])
        >>> livegrad.distributed.destroy_process_group()
        """
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def _set_static_graph(self):
        """Say after the model was made that the graph is static."""
        self.static_graph = True
        if self.reducer is not None:
            self.reducer.late = True

    def _get_ddp_logging_data(self):
        return {
            "world_size": self.process_group.size(), "rank": self.process_group.rank(),
            "bucket_cap_bytes": self.bucket_bytes_cap, "find_unused_parameters": self.find_unused_parameters,
            "broadcast_buffers": self.broadcast_buffers,
        }  # fmt: skip

    @staticmethod
    def _set_params_and_buffers_to_ignore_for_model(module, params_and_buffers_to_ignore):
        module._ddp_params_and_buffers_to_ignore = params_and_buffers_to_ignore

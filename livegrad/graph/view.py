"""From recorded nodes to a :class:`Graph`. The only file here that knows what the core's nodes look like.

It reads: of a tensor ``grad_fn``, ``output_nr``, ``requires_grad``, ``shape``, ``dtype``, ``device``; of a recorded
node ``name()``, ``next_functions``, ``variable``, ``op_name``, ``seq``, ``out_shape``, ``out_dtype``, ``out_device``,
``module_path``, ``inputs_info()``; and, only when shown, ``site()`` and ``kept()``.
"""

import heapq

from .operators import called
from .structure import Graph, Node


def read(results, names=(), stop=()):
    """The graph behind ``results``. ``names`` are pairs of name and tensor; reading stops at those in ``stop``."""
    stop = {_key(tensor): tensor for tensor in stop}
    made = {}  # key of a recorded node or leaf -> Node
    functions = {}  # key of a recorded node -> its next_functions, read once
    constants = []
    for tensor in results:
        _collect(tensor, made, functions, stop)
    nodes = _in_order(made, functions)
    _place_on_devices(nodes, made, functions)
    for node in nodes:
        if node.kind == "op":
            _connect(node, functions[id(node.grad_fn)], made, constants)
    ends = [_end(tensor, made, constants) for tensor in results]
    nodes = _leaves_at_first_use(nodes)
    for place, node in enumerate(nodes):
        node.id = place
    for place, node in enumerate(constants):
        node.id = len(nodes) + place
    _label(names, made, constants, results, ends)
    _place_parameters(nodes)
    return Graph(nodes, constants, ends)


def _key(tensor):
    """What identifies a tensor's value in the record: the node that made it, or the tensor itself."""
    return id(tensor if tensor.grad_fn is None else tensor.grad_fn)


def _record_key(record):
    """The same for a recorded node. (A leaf may get several nodes over time: the leaf identifies it.)"""
    variable = getattr(record, "variable", None)
    return id(record if variable is None else variable)


def _collect(tensor, made, functions, stop):
    """Makes a Node for each recorded node behind ``tensor``, without recursion."""
    if tensor.grad_fn is None:
        if tensor.requires_grad and id(tensor) not in made:
            made[id(tensor)] = _leaf(tensor, None, "input" if id(tensor) in stop else "leaf")
        return
    todo = [tensor.grad_fn]
    while todo:
        record = todo.pop()
        key = _record_key(record)
        if key in made:
            continue
        if key in stop:
            made[key] = _leaf(stop[key], record, "input")
        elif record.name() == "AccumulateGrad":
            made[key] = _leaf(record.variable, record, "leaf")
        else:
            made[key] = Node(
                "op",
                called(record.op_name, record.name(), len(record.out_shape)),
                record.name(),
                tuple(record.out_shape),
                type_name(record.out_dtype),
                None if record.out_device is None else str(record.out_device),
                record,
                record.module_path or "",
            )
            functions[key] = record.next_functions
            todo.extend(previous for previous, _ in functions[key] if previous is not None)


def _place_on_devices(nodes, made, functions):
    """An operator that kept nothing to tell its device by has its operands' device, which is known by now."""
    for node in nodes:
        if node.kind == "op" and node.device is None:
            inputs = (made[_record_key(f)] for f, _ in functions[id(node.grad_fn)] if f is not None)
            node.device = next((i.device for i in inputs if i.device is not None), "cpu")


def _leaf(tensor, record, kind):
    name = record.name() if record is not None else "AccumulateGrad"
    if tensor is None:  # the leaf itself is gone, and only the graph remembers it
        return Node(
            kind, kind, name, tuple(record.out_shape), type_name(record.out_dtype), str(record.out_device), record
        )
    return Node(kind, kind, name, tuple(tensor.shape), type_name(tensor.dtype), str(tensor.device), record)


def _constant(shape, dtype, device, module=""):
    return Node("constant", "constant", "", shape, dtype, device, module=module, requires_grad=False)


def _connect(node, functions, made, constants):
    """Fills in ``inputs`` and ``outputs`` of an operator."""
    inputs, outputs, seen = [], [], set()

    def add(item, output=0):
        inputs.append(item)
        outputs.append(output)

    for entry in node.grad_fn.inputs_info():
        what = entry[0]
        if what == "node" and functions[entry[1]][0] is not None:
            previous, output = functions[entry[1]]
            seen.add(entry[1])
            add(made[_record_key(previous)], output)
        elif what == "const":
            shape, dtype = entry[1], type_name(entry[2])
            constants.append(_constant(tuple(shape), dtype, node.device, node.module))
            add(constants[-1])
        elif what == "scalar":
            add(entry[1])
    for index, (previous, output) in enumerate(functions):  # operands that inputs_info does not mention
        if previous is not None and index not in seen:
            add(made[_record_key(previous)], output)
    node.inputs, node.outputs = tuple(inputs), tuple(outputs)


def _end(tensor, made, constants):
    """The node and output that a result is; a result without a record is a constant of its own."""
    node = made.get(_key(tensor))
    if node is None:
        shape, dtype = tuple(tensor.shape), type_name(tensor.dtype)
        node = _constant(shape, dtype, str(tensor.device))
        constants.append(node)
    return node, getattr(tensor, "output_nr", 0)


def _in_order(made, functions):
    """The nodes by time of creation; by dependence where that differs (an in-place change can rewire older nodes)."""
    ops = [node for node in made.values() if node.kind == "op"]
    ops.sort(key=lambda node: node.grad_fn.seq)
    place = {id(node.grad_fn): index for index, node in enumerate(ops)}
    needs = [[place[id(f)] for f, _ in functions[id(node.grad_fn)] if id(f) in place] for node in ops]
    if any(need > index for index, found in enumerate(needs) for need in found):
        ops = _by_dependence(ops, needs)
    return [node for node in made.values() if node.kind != "op"] + ops


def _by_dependence(ops, needs):
    users = [[] for _ in ops]
    missing = [len(found) for found in needs]
    for index, found in enumerate(needs):
        for need in found:
            users[need].append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    ordered = []
    while ready:
        index = heapq.heappop(ready)
        ordered.append(ops[index])
        for user in users[index]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, user)
    return ordered


def _leaves_at_first_use(nodes):
    """Each leaf just before the first operator that reads it."""
    ordered, placed = [], set()
    for node in nodes:
        if node.kind == "op":
            for item in node.producers:
                if item.kind in ("leaf", "input") and id(item) not in placed:
                    placed.add(id(item))
                    ordered.append(item)
            ordered.append(node)
    return ordered + [node for node in nodes if node.kind in ("leaf", "input") and id(node) not in placed]


def _label(names, made, constants, results, ends):
    """Names nodes: the first name of a tensor counts, and no name is given twice."""
    taken = set()
    unrecorded = {id(tensor): end[0] for tensor, end in zip(results, ends) if end[0].kind == "constant"}
    for name, tensor in names:
        node = made.get(_key(tensor)) or unrecorded.get(id(tensor))
        if node is None or node.label is not None or getattr(tensor, "output_nr", 0) != 0:
            continue
        unique, count = str(name), 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique)
        node.label = unique


def _place_parameters(nodes):
    """A parameter belongs to the module its qualified name says; without one, to the module that reads it."""
    placed = set()
    for node in nodes:
        for item in node.inputs if node.kind == "op" else ():
            if isinstance(item, Node) and item.kind == "leaf" and id(item) not in placed:
                placed.add(id(item))
                if item.label is not None and "." in item.label:
                    item.module = item.label.rpartition(".")[0]
                elif _is_parameter(item):
                    item.module = node.module


def _is_parameter(leaf):
    return leaf.grad_fn is not None and type(leaf.grad_fn.variable).__name__ == "Parameter"


def type_name(dtype):
    """``"float32"`` for a dtype or its name."""
    return getattr(dtype, "name", None) or str(dtype).removeprefix("torch.")

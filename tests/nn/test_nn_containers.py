"""Containers behave as PyTorch's: every step is done with both libraries, and what they show is compared."""

import pytest
from against_torch import torch

import livegrad

STEPS = {
    "Sequential": [
        "s = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3), nn.Tanh())",
        "s[1:3]", "s[-1]", "len(s)", "s[::2]", "list(s)", "s.append(nn.Sigmoid())", "s.insert(1, nn.Identity())",
        "s.insert(-1, nn.ELU())", "s.extend([nn.ReLU6(), nn.SELU()])", "s.pop(2)", "s", "s[0] = nn.Flatten()",
        "del s[1]", "s", "del s[1:3]", "s", "s + nn.Sequential(nn.GELU())", "s * 2", "2 * s",
        "s += nn.Sequential(nn.Mish())",
        "s", "s *= 2", "s", "list(s.state_dict())", "'0' in dir(s)", "[n for n, _ in s.named_children()]",
        "nn.Sequential(__import__('collections').OrderedDict(a=nn.ReLU(), b=nn.Tanh()))", "nn.Sequential()",
        "nn.Sequential(nn.ReLU())(o(2)).tolist()",
    ],
    "ModuleList": [
        "s = nn.ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.ReLU()])",
        "s", "s[0:2]", "s[-1]", "len(s)", "s.append(nn.Tanh())", "s.extend([nn.Tanh(), nn.Tanh()])",
        "s.insert(1, nn.SELU())", "s", "s[2] = nn.GELU()", "del s[0]", "s", "del s[1:3]", "s", "s.pop(-1)",
        "s + [nn.ReLU()]", "s += [nn.ReLU()]", "s", "[n for n, _ in s.named_parameters()]", "nn.ModuleList()",
        "nn.ModuleList(nn.ReLU() for _ in range(3))", "[type(x).__name__ for x in s]",
    ],
    "ModuleDict": [
        "s = nn.ModuleDict({'a': nn.Linear(1, 2), 'b': nn.ReLU()})",
        "s", "s['a']", "len(s)", "list(s)", "'a' in s", "list(s.keys())", "list(s.values())", "s.pop('a')", "s",
        "s['c'] = nn.Tanh()", "s.update([('d', nn.GELU()), ('b', nn.Mish())])", "s", "del s['b']", "s",
        "s.update(nn.ModuleDict({'z': nn.ReLU()}))", "list(s.items())", "s.clear()", "s", "list(s.state_dict())",
    ],
    "ParameterList": [
        "s = nn.ParameterList([o(2), nn.Parameter(o(2, 3)), 3])",
        "s", "len(s)", "[type(x).__name__ for x in s]", "s.append(o(4))", "s.extend([o(1), 'x'])", "s",
        "s[0] = o(5)", "s[0].shape == (5,)", "s[1:3]", "list(s.state_dict())", "[n for n, _ in s.named_parameters()]",
        "s += [o(1)]", "len(s)", "s[-1].requires_grad", "nn.ParameterList()",
    ],
    "ParameterDict": [
        "s = nn.ParameterDict({'a': o(2), 'b': 3})",
        "s", "len(s)", "list(s)", "'a' in s", "type(s['a']).__name__", "s['c'] = o(2, 2)", "s", "s.pop('a')", "s",
        "s.get('nope', 1)", "s.setdefault('d', o(1))", "list(s.keys())", "s.update({'e': o(1)})", "s.popitem()", "s",
        "list(reversed(s))", "s.copy()", "s | nn.ParameterDict({'q': o(1)})", "list(s.state_dict())", "del s['c']", "s",
        "s.fromkeys(['x', 'y'], 1)", "s.clear()", "s", "nn.ParameterDict()",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_container(name):
    spaces = [{"nn": library.nn, "o": library.ones} for library in (livegrad, torch)]
    for step in STEPS[name]:
        shown = []
        for space in spaces:
            try:
                shown.append(repr(eval(step, space)))
            except SyntaxError:
                exec(step, space)
                shown.append("")
        assert shown[0] == shown[1], step


def test_dictionaries_with_names_of_their_methods():
    with pytest.raises(KeyError):
        livegrad.nn.ModuleDict({"keys": livegrad.nn.ReLU()})
    with pytest.raises(KeyError):
        torch.nn.ModuleDict({"keys": torch.nn.ReLU()})

"""A first gradient: record four operators, look at the graph, differentiate."""

import livegrad

x = livegrad.arange(1, 4, dtype=livegrad.float32, requires_grad=True)
a = x + 2
b = a**2
c = b + 3
y = c.mean()
print(y)

print(livegrad.graph(y).draw())

y.backward()
print(x.grad)

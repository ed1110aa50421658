"""L-BFGS."""

import livegrad

from .optimizer import Optimizer

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last ``history_size`` gradients  (Nocedal, 1980; Liu and Nocedal, 1989).

    ``step(closure)`` calls the closure, which computes the loss and its gradients, several times: at most ``max_iter``
    iterations and ``max_eval`` calls, fewer where the gradient is below ``tolerance_grad`` or nothing changes by more
    than ``tolerance_change``. ``line_search_fn`` is None, for steps of length ``lr``, or "strong_wolfe". There is one
    group of parameters.

    >>> import livegrad
    >>> x = livegrad.zeros(2, requires_grad=True)
    >>> optimizer = livegrad.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((x - livegrad.tensor([1.0, -2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> [round(v, 4) for v in x.tolist()]
    [1.0, -2.0]
    """

    def __init__(
        self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9, history_size=100,
        line_search_fn=None,
    ):  # fmt: skip
        if not float(lr) >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _flat_gradient(self):
        """All gradients as one vector; zeros where there is none."""
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self._params]
        return livegrad.cat(parts)

    def _move(self, length, direction):
        start = 0
        for p in self._params:
            n = p.numel()
            p.add_(direction[start : start + n].view_as(p), alpha=length)
            start += n

    def _evaluate_at(self, closure, origin, length, direction):
        """(loss, gradient) some way along a direction; the parameters come back to where they were."""
        try:
            self._move(length, direction)
            with livegrad.enable_grad():
                loss = float(closure())
            return loss, self._flat_gradient()
        finally:
            for p, before in zip(self._params, origin):
                p.copy_(before)

    @livegrad.no_grad()
    def step(self, closure):
        """One call of the optimiser; returns the first loss."""
        group = self.param_groups[0]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        with livegrad.enable_grad():
            first_loss = closure()
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        gradient = self._flat_gradient()
        if float(gradient.abs().max()) <= group["tolerance_grad"]:
            return first_loss
        iteration = 0
        while iteration < group["max_iter"]:
            iteration += 1
            loss_before = loss
            # Put into the state in one piece: an interruption (Ctrl-C) leaves what was there, or all that follows it.
            following = self._following(state, gradient, group["history_size"])
            following.update(prev_flat_grad=gradient.clone(), prev_loss=loss)
            direction, length = following["d"], group["lr"]
            if following["n_iter"] == 1:
                length = min(1.0, 1.0 / float(gradient.abs().sum())) * group["lr"]
            slope = float(gradient.dot(direction))
            if slope > -group["tolerance_change"]:
                state.update(following, t=length)
                break
            calls = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                origin = [p.clone() for p in self._params]
                loss, gradient, length, calls = _strong_wolfe(
                    lambda t: self._evaluate_at(closure, origin, t, direction), length, direction, loss, gradient, slope
                )
                state.update(following, t=length)
                self._move(length, direction)
            else:
                state.update(following, t=length)
                self._move(length, direction)
                if iteration != group["max_iter"]:
                    with livegrad.enable_grad():
                        loss = float(closure())
                    gradient = self._flat_gradient()
                    calls = 1
            evaluations += calls
            state["func_evals"] += calls
            if (
                iteration == group["max_iter"]
                or evaluations >= group["max_eval"]
                or float(gradient.abs().max()) <= group["tolerance_grad"]
                or float((direction * length).abs().max()) <= group["tolerance_change"]
                or abs(loss - loss_before) < group["tolerance_change"]
            ):
                break
        return first_loss

    def _following(self, state, gradient, history_size):
        """What the state becomes: `d`, where to go, is minus the gradient times the inverse of the curvature seen."""
        count = state["n_iter"] + 1
        if count == 1:
            return {"n_iter": 1, "d": -gradient, "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1}
        changes, steps, ro = (list(state[name]) for name in ("old_dirs", "old_stps", "ro"))
        scale = state["H_diag"]
        change = gradient - state["prev_flat_grad"]
        step = state["d"] * state["t"]
        curvature = float(change.dot(step))
        if curvature > 1e-10:
            if len(changes) == history_size:
                for history in (changes, steps, ro):
                    history.pop(0)
            changes.append(change)
            steps.append(step)
            ro.append(1.0 / curvature)
            scale = curvature / float(change.dot(change))
        q = -gradient
        weights = []
        for change, step, r in zip(reversed(changes), reversed(steps), reversed(ro)):
            weights.append(float(step.dot(q)) * r)
            q = q - change * weights[-1]
        d = q * scale
        for change, step, r, weight in zip(changes, steps, ro, reversed(weights)):
            d = d + step * (weight - float(change.dot(d)) * r)
        return {"n_iter": count, "d": d, "old_dirs": changes, "old_stps": steps, "ro": ro, "H_diag": scale}


def _cubic(x1, f1, g1, x2, f2, g2, bounds=None):
    """The minimum of the cubic through two points with those values and slopes, within bounds."""
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:  # or no number
        return (low + high) / 2.0
    d2 = square**0.5
    if x1 > x2:
        x1, g1, x2, g2 = x2, g2, x1, g1
    above, below = g2 + d2 - d1, g2 - g1 + 2 * d2
    if below == 0.0:  # a line: it falls for ever
        return low if above > 0 else high if above < 0 else (low + high) / 2.0
    found = x2 - (x2 - x1) * (above / below)
    return min(max(found, low), high) if found == found else (low + high) / 2.0


def _strong_wolfe(
    evaluate, t, direction, f, g, slope, c1=1e-4, c2=0.9, tolerance_change=1e-9, most=25
):  # fmt: skip
    """A step length that lowers the loss enough and flattens the slope: (loss, gradient, length, calls)."""
    span = float(direction.abs().max())
    f_new, g_new = evaluate(t)
    calls = 1
    slope_new = float(g_new.dot(direction))
    before = (0.0, f, g, slope)
    found = False
    round_ = 0
    while round_ < most:
        now = (t, f_new, g_new, slope_new)
        if f_new > f + c1 * t * slope or (round_ > 1 and f_new >= before[1]):
            bracket = [before, now]
            break
        if abs(slope_new) <= -c2 * slope:
            bracket, found = [now], True
            break
        if slope_new >= 0:
            bracket = [before, now]
            break
        least, largest = t + 0.01 * (t - before[0]), t * 10
        following = _cubic(before[0], before[1], before[3], t, f_new, slope_new, (least, largest))
        before, t = now, following
        f_new, g_new = evaluate(t)
        calls += 1
        slope_new = float(g_new.dot(direction))
        round_ += 1
    if round_ == most:
        bracket = [(0.0, f, g, slope), (t, f_new, g_new, slope_new)]

    # Narrow the bracket until a point in it will do. Item `low` of it is the better end.
    insufficient = False
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not found and round_ < most:
        if abs(bracket[1][0] - bracket[0][0]) * span < tolerance_change:
            break
        a, b = bracket
        t = _cubic(a[0], a[1], a[3], b[0], b[1], b[3])
        ends = (a[0], b[0])
        margin = 0.1 * (max(ends) - min(ends))
        if min(max(ends) - t, t - min(ends)) < margin:
            if insufficient or t >= max(ends) or t <= min(ends):
                t = max(ends) - margin if abs(t - max(ends)) < abs(t - min(ends)) else min(ends) + margin
                insufficient = False
            else:
                insufficient = True
        else:
            insufficient = False
        f_new, g_new = evaluate(t)
        calls += 1
        slope_new = float(g_new.dot(direction))
        round_ += 1
        now = (t, f_new, g_new, slope_new)
        if f_new > f + c1 * t * slope or f_new >= bracket[low][1]:
            bracket[high] = now
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if abs(slope_new) <= -c2 * slope:
                found = True
            elif slope_new * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = now
    t, f_new, g_new, _ = bracket[low] if len(bracket) > 1 else bracket[0]
    return f_new, g_new, t, calls

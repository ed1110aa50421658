"""The dispatcher of `pool` as LLVM IR: how threads share a job, and the queue of jobs that nobody has waited for.

All that it shares lies in one state block, in cache lines of their own:

* `generation` grows with every job; this is what idle helpers watch and sleep on.
* `gate` holds OPEN while a job takes helpers, WAITING while its caller sleeps, and the number of helpers inside. A
  helper enters only through an open gate, and `job` closes it and waits for the number to be zero before it
  returns, so nobody touches a job's arguments afterwards.
* `shares` has a line for each share: the first item that nobody has taken.
* `busy` is held by the thread whose job it is. Another thread that launches meanwhile, or a kernel that launches,
  does not wait for it but runs its range itself.
* `queue`: see `dispatcher_queue`.
"""

from __future__ import annotations

from . import dispatcher_queue

QUEUE_AT = 384  # where its counters are in the state block
_SHARES = 512  # where they begin in the state block
MOST_THREADS = 1024
_RING = _SHARES + 64 * MOST_THREADS
SLOTS, SLOT_BYTES = 128, 8192
SLOT_HEAD = 64  # bytes of a slot before the arguments
MOST_BYTES = SLOT_BYTES - SLOT_HEAD
STATE_BYTES = _RING + SLOTS * SLOT_BYTES

_HEAD = """
%state = type {
  i32, [60 x i8],                     ; 0 generation
  i32, [60 x i8],                     ; 2 sleepers: helpers asleep, or about to be
  i32, [60 x i8],                     ; 4 gate
  i32, [60 x i8],                     ; 6 busy
  ptr, ptr, i64, i64,                 ; 8 kernel, 9 args, 10 total, 11 grain
  i32, i32, i64, [16 x i8],           ; 12 limit: how many helpers may enter, 13 how many shares, 14 items of a share
  ptr, i64, i64,                      ; 16 syscall, 17 number of futex, 18 spins
  i32                                 ; 19 whether the job runs from the end of each share to its beginning
}
%share = type { i64, [56 x i8] }      ; from SHARES on
%queue = type {                       ; from QUEUE on
  i64, i32, [52 x i8],                ; 0 put: how many jobs, 1 held: helpers leave them to whoever waits
  i64, i32, i32, [48 x i8]            ; 3 done: how many jobs, 4 driven: somebody runs them, 5 waiting: for them, asleep
}
%slot = type { ptr, i64, i64, i32 }   ; from RING on: kernel, total, grain, helpers; then the arguments
"""

_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}

_RUN = """
define void @run(ptr %kernel, ptr %args, i64 %begin, i64 %end) {
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %go, label %done
go:
  call void %kernel(ptr %args, i64 %begin, i64 %end)
  br label %done
done:
  ret void
}
"""

# OPEN is bit 31 of the gate, WAITING bit 30, the number of helpers inside bits 0 to 29.
# The futex operations are 128 FUTEX_WAIT_PRIVATE and 129 FUTEX_WAKE_PRIVATE.
_DISPATCH = """
define internal void @futex(ptr %s, ptr %word, i64 %operation, i32 %value) {
  %syscall.p = getelementptr %state, ptr %s, i32 0, i32 16
  %number.p = getelementptr %state, ptr %s, i32 0, i32 17
  %syscall = load ptr, ptr %syscall.p
  %number = load i64, ptr %number.p
  %value.wide = zext i32 %value to i64
  call i64 (i64, ...) %syscall(i64 %number, ptr %word, i64 %operation, i64 %value.wide, ptr null, ptr null, i64 0)
  ret void
}

define void @spin(i64 %count) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]
  PAUSE
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}

define internal ptr @share(ptr %s, i64 %number) {
  %first = getelementptr i8, ptr %s, i64 SHARES
  %place = getelementptr %share, ptr %first, i64 %number
  ret ptr %place
}

define internal void @take_chunks(ptr %s, i64 %thread) {
entry:
  %kernel.p = getelementptr %state, ptr %s, i32 0, i32 8
  %args.p = getelementptr %state, ptr %s, i32 0, i32 9
  %total.p = getelementptr %state, ptr %s, i32 0, i32 10
  %grain.p = getelementptr %state, ptr %s, i32 0, i32 11
  %shares.p = getelementptr %state, ptr %s, i32 0, i32 13
  %length.p = getelementptr %state, ptr %s, i32 0, i32 14
  %kernel = load ptr, ptr %kernel.p
  %args = load ptr, ptr %args.p
  %total = load i64, ptr %total.p
  %grain = load i64, ptr %grain.p
  %shares.i32 = load i32, ptr %shares.p
  %shares = zext i32 %shares.i32 to i64
  %length = load i64, ptr %length.p
  %back.p = getelementptr %state, ptr %s, i32 0, i32 19
  %back.i32 = load i32, ptr %back.p
  %back = icmp ne i32 %back.i32, 0
  br label %turn
turn:
  %k = phi i64 [ 0, %entry ], [ %k.next, %following ]
  %turned = add i64 %thread, %k
  %number = urem i64 %turned, %shares
  %share.p = call ptr @share(ptr %s, i64 %number)
  %first = mul i64 %number, %length
  %last = add i64 %first, %length
  %beyond = icmp sgt i64 %last, %total
  %limit = select i1 %beyond, i64 %total, i64 %last
  %last.item = sub i64 %limit, 1
  %last.chunk = sub i64 %last.item, %first
  %behind = urem i64 %last.chunk, %grain
  %top = sub i64 %last.item, %behind
  %mirror = add i64 %first, %top
  br label %take
take:
  %next = atomicrmw add ptr %share.p, i64 %grain monotonic
  %some = icmp slt i64 %next, %limit
  br i1 %some, label %work, label %following
work:
  %mirrored = sub i64 %mirror, %next
  %begin = select i1 %back, i64 %mirrored, i64 %next
  %left = sub i64 %limit, %begin
  %short = icmp slt i64 %left, %grain
  %count = select i1 %short, i64 %left, i64 %grain
  %end = add i64 %begin, %count
  call void %kernel(ptr %args, i64 %begin, i64 %end)
  br label %take
following:
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, %shares
  br i1 %more, label %turn, label %done
done:
  ret void
}

define void @worker(ptr %s, i64 %thread) {
entry:
  %generation.p = getelementptr %state, ptr %s, i32 0, i32 0
  %sleepers.p = getelementptr %state, ptr %s, i32 0, i32 2
  %gate.p = getelementptr %state, ptr %s, i32 0, i32 4
  %limit.p = getelementptr %state, ptr %s, i32 0, i32 12
  %spins.p = getelementptr %state, ptr %s, i32 0, i32 18
  br label %top

top:
  %seen = load atomic i32, ptr %generation.p seq_cst, align 4
  br label %look

look:
  %gate = load atomic i32, ptr %gate.p seq_cst, align 4
  %limit = load atomic i32, ptr %limit.p monotonic, align 4
  %inside = and i32 %gate, 1073741823
  %open = icmp slt i32 %gate, 0
  %room = icmp ult i32 %inside, %limit
  %may = and i1 %open, %room
  br i1 %may, label %enter, label %queue

queue:
  %drove = call i1 @drive(ptr %s, i64 %thread, i1 false)
  br i1 %drove, label %top, label %idle

enter:
  %one.more = add i32 %gate, 1
  %tried = cmpxchg ptr %gate.p, i32 %gate, i32 %one.more seq_cst seq_cst
  %entered = extractvalue { i32, i1 } %tried, 1
  br i1 %entered, label %work, label %look

work:
  call void @take_chunks(ptr %s, i64 %thread)
  %was = atomicrmw sub ptr %gate.p, i32 1 seq_cst
  %was.low = and i32 %was, 2147483647
  %last = icmp eq i32 %was.low, 1073741825
  br i1 %last, label %tell, label %idle

tell:
  call void @futex(ptr %s, ptr %gate.p, i64 129, i32 1)
  br label %idle

idle:
  %spins = load i64, ptr %spins.p
  br label %watch

watch:
  %i = phi i64 [ 0, %idle ], [ %i.next, %again ]
  %now = load atomic i32, ptr %generation.p acquire, align 4
  %new = icmp ne i32 %now, %seen
  br i1 %new, label %top, label %patience

patience:
  %enough = icmp sge i64 %i, %spins
  br i1 %enough, label %sleep, label %again

again:
  PAUSE
  %i.next = add i64 %i, 1
  br label %watch

sleep:
  %s.up = atomicrmw add ptr %sleepers.p, i32 1 seq_cst
  call void @futex(ptr %s, ptr %generation.p, i64 128, i32 %seen)
  %s.down = atomicrmw sub ptr %sleepers.p, i32 1 seq_cst
  br label %top
}

define void @launch(ptr %s, ptr %kernel, ptr %args, i64 %total, i64 %grain, i32 %helpers) {
  call void @job(ptr %s, i64 0, ptr %kernel, ptr %args, i64 %total, i64 %grain, i32 %helpers)
  ret void
}

define internal void @job(ptr %s, i64 %thread, ptr %kernel, ptr %args, i64 %total, i64 %grain, i32 %helpers) {
entry:
  %busy.p = getelementptr %state, ptr %s, i32 0, i32 6
  %tried = cmpxchg ptr %busy.p, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue { i32, i1 } %tried, 1
  br i1 %mine, label %publish, label %alone

alone:
  call void %kernel(ptr %args, i64 0, i64 %total)
  ret void

publish:
  %generation.p = getelementptr %state, ptr %s, i32 0, i32 0
  %sleepers.p = getelementptr %state, ptr %s, i32 0, i32 2
  %gate.p = getelementptr %state, ptr %s, i32 0, i32 4
  %kernel.p = getelementptr %state, ptr %s, i32 0, i32 8
  %args.p = getelementptr %state, ptr %s, i32 0, i32 9
  %total.p = getelementptr %state, ptr %s, i32 0, i32 10
  %grain.p = getelementptr %state, ptr %s, i32 0, i32 11
  %limit.p = getelementptr %state, ptr %s, i32 0, i32 12
  %shares.p = getelementptr %state, ptr %s, i32 0, i32 13
  %length.p = getelementptr %state, ptr %s, i32 0, i32 14
  %spins.p = getelementptr %state, ptr %s, i32 0, i32 18
  store ptr %kernel, ptr %kernel.p
  store ptr %args, ptr %args.p
  store i64 %total, ptr %total.p
  store i64 %grain, ptr %grain.p
  %back.p = getelementptr %state, ptr %s, i32 0, i32 19
  %forth = load i32, ptr %back.p
  %back = xor i32 %forth, 1
  store i32 %back, ptr %back.p
  %last.item = sub i64 %total, 1
  %chunks.less.one = udiv i64 %last.item, %grain
  %helpers.wide = zext i32 %helpers to i64
  %few = icmp ult i64 %chunks.less.one, %helpers.wide
  %wanted.wide = select i1 %few, i64 %chunks.less.one, i64 %helpers.wide
  %wanted = trunc i64 %wanted.wide to i32
  store atomic i32 %wanted, ptr %limit.p monotonic, align 4
  %shares = add i64 %wanted.wide, 1
  %shares.i32 = trunc i64 %shares to i32
  store i32 %shares.i32, ptr %shares.p
  %chunks.of.share = udiv i64 %chunks.less.one, %shares
  %rounded = add i64 %chunks.of.share, 1
  %length = mul i64 %rounded, %grain
  store i64 %length, ptr %length.p
  br label %cut

cut:
  %k = phi i64 [ 0, %publish ], [ %k.next, %cut ]
  %share.p = call ptr @share(ptr %s, i64 %k)
  %first = mul i64 %k, %length
  store atomic i64 %first, ptr %share.p monotonic, align 8
  %k.next = add i64 %k, 1
  %more.shares = icmp ult i64 %k.next, %shares
  br i1 %more.shares, label %cut, label %open

open:
  store atomic i32 -2147483648, ptr %gate.p seq_cst, align 4
  %g = atomicrmw add ptr %generation.p, i32 1 seq_cst
  %sleepers = load atomic i32, ptr %sleepers.p seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %wake, label %work

wake:
  call void @futex(ptr %s, ptr %generation.p, i64 129, i32 %wanted)
  br label %work

work:
  call void @take_chunks(ptr %s, i64 %thread)
  %closed = atomicrmw and ptr %gate.p, i32 2147483647 seq_cst
  %spins = load i64, ptr %spins.p
  br label %watch

watch:
  %i = phi i64 [ 0, %work ], [ %i.next, %again ], [ 0, %slept ]
  %gate = load atomic i32, ptr %gate.p seq_cst, align 4
  %inside = and i32 %gate, 1073741823
  %empty = icmp eq i32 %inside, 0
  br i1 %empty, label %done, label %patience

patience:
  %enough = icmp sge i64 %i, %spins
  br i1 %enough, label %ask, label %again

again:
  PAUSE
  %i.next = add i64 %i, 1
  br label %watch

ask:
  %waiting = or i32 %gate, 1073741824
  %asked = cmpxchg ptr %gate.p, i32 %gate, i32 %waiting seq_cst seq_cst
  %agreed = extractvalue { i32, i1 } %asked, 1
  br i1 %agreed, label %sleep, label %slept

sleep:
  call void @futex(ptr %s, ptr %gate.p, i64 128, i32 %waiting)
  br label %slept

slept:
  br label %watch

done:
  store atomic i32 0, ptr %busy.p seq_cst, align 4
  ret void
}
"""

_MEMCPY = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n"
_NUMBERS = {
    "MOST_BYTES": MOST_BYTES,
    "SLOT_BYTES": SLOT_BYTES,
    "SLOT_HEAD": SLOT_HEAD,
    "LAST_SLOT": SLOTS - 1,
    "SHARES": _SHARES,
    "QUEUE": QUEUE_AT,
    "RING": _RING,
}


def module_text(machine, with_futex):
    """The dispatcher's IR for `machine`; only `run` where there is no futex."""
    if not with_futex:
        return _RUN
    declaration, pause = _PAUSE.get(machine, ("", ""))
    text = (_DISPATCH + dispatcher_queue.TEXT).replace("PAUSE", pause)
    for name, number in _NUMBERS.items():
        text = text.replace(name, str(number))
    return declaration + "\n" + _MEMCPY + _HEAD + _RUN + text

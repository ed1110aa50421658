"""The queue of jobs that nobody has waited for, a part of the `dispatcher`'s LLVM IR.

It is a ring of slots, each with a job and a copy of its arguments. `put` counts the jobs that were ever put there,
`done` those that are done. Whoever sets `driven` runs them, one after the other and each as a job of its own: a helper
that has nothing else to do, or a thread that waits for them (`drain`), which otherwise helps like a helper. Nobody
misses a job: `put` is written before `driven` is read, and whoever clears `driven` reads `put` again.
"""

from __future__ import annotations

TEXT = """
define internal ptr @queue(ptr %s) {
  %q = getelementptr i8, ptr %s, i64 QUEUE
  ret ptr %q
}

define internal ptr @slot(ptr %s, i64 %number) {
  %k = and i64 %number, LAST_SLOT
  %offset = mul i64 %k, SLOT_BYTES
  %first = getelementptr i8, ptr %s, i64 RING
  %slot = getelementptr i8, ptr %first, i64 %offset
  ret ptr %slot
}

; Tell everybody who watches the generation.
define internal void @tell(ptr %s, i32 %most) {
  %generation.p = getelementptr %state, ptr %s, i32 0, i32 0
  %sleepers.p = getelementptr %state, ptr %s, i32 0, i32 2
  %g = atomicrmw add ptr %generation.p, i32 1 seq_cst
  %sleepers = load atomic i32, ptr %sleepers.p seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %wake, label %done
wake:
  call void @futex(ptr %s, ptr %generation.p, i64 129, i32 %most)
  br label %done
done:
  ret void
}

; Put a job at the end of the queue; 0 if there is no room. One caller at a time.
define i32 @put(ptr %s, ptr %kernel, ptr %args, i64 %bytes, i64 %total, i64 %grain, i32 %helpers) {
entry:
  %q = call ptr @queue(ptr %s)
  %put.p = getelementptr %queue, ptr %q, i32 0, i32 0
  %held.p = getelementptr %queue, ptr %q, i32 0, i32 1
  %done.p = getelementptr %queue, ptr %q, i32 0, i32 3
  %put = load atomic i64, ptr %put.p monotonic, align 8
  %done = load atomic i64, ptr %done.p acquire, align 8
  %count = sub i64 %put, %done
  %full = icmp sgt i64 %count, LAST_SLOT
  %long = icmp ugt i64 %bytes, MOST_BYTES
  %no = or i1 %full, %long
  br i1 %no, label %refuse, label %write

refuse:
  ret i32 0

write:
  %slot = call ptr @slot(ptr %s, i64 %put)
  %kernel.p = getelementptr %slot, ptr %slot, i32 0, i32 0
  %total.p = getelementptr %slot, ptr %slot, i32 0, i32 1
  %grain.p = getelementptr %slot, ptr %slot, i32 0, i32 2
  %helpers.p = getelementptr %slot, ptr %slot, i32 0, i32 3
  %copy = getelementptr i8, ptr %slot, i64 SLOT_HEAD
  store ptr %kernel, ptr %kernel.p
  store i64 %total, ptr %total.p
  store i64 %grain, ptr %grain.p
  store i32 %helpers, ptr %helpers.p
  call void @llvm.memcpy.p0.p0.i64(ptr %copy, ptr %args, i64 %bytes, i1 false)
  %next = add i64 %put, 1
  store atomic i64 %next, ptr %put.p seq_cst, align 8
  %held = load atomic i32, ptr %held.p monotonic, align 4
  %quiet = icmp ne i32 %held, 0
  br i1 %quiet, label %out, label %tell

tell:
  call void @tell(ptr %s, i32 1)
  br label %out

out:
  ret i32 1
}

; Run what is in the queue, if there is something and nobody else does; whether any was run. Helpers leave it where it
; is held.
define internal i1 @drive(ptr %s, i64 %thread, i1 %must) {
entry:
  %q = call ptr @queue(ptr %s)
  %put.p = getelementptr %queue, ptr %q, i32 0, i32 0
  %held.p = getelementptr %queue, ptr %q, i32 0, i32 1
  %done.p = getelementptr %queue, ptr %q, i32 0, i32 3
  %driven.p = getelementptr %queue, ptr %q, i32 0, i32 4
  %waiting.p = getelementptr %queue, ptr %q, i32 0, i32 5
  %held = load atomic i32, ptr %held.p seq_cst, align 4
  %free = icmp eq i32 %held, 0
  %may = or i1 %free, %must
  br i1 %may, label %look, label %nothing

look:
  %any = phi i1 [ false, %entry ], [ true, %finish ]
  %put = load atomic i64, ptr %put.p seq_cst, align 8
  %done = load atomic i64, ptr %done.p seq_cst, align 8
  %some = icmp slt i64 %done, %put
  br i1 %some, label %try, label %over

try:
  %tried = cmpxchg ptr %driven.p, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue { i32, i1 } %tried, 1
  br i1 %mine, label %next, label %over

next:
  %number = load atomic i64, ptr %done.p seq_cst, align 8
  %end = load atomic i64, ptr %put.p seq_cst, align 8
  %more = icmp slt i64 %number, %end
  br i1 %more, label %run, label %finish

run:
  %slot = call ptr @slot(ptr %s, i64 %number)
  %kernel.p = getelementptr %slot, ptr %slot, i32 0, i32 0
  %total.p = getelementptr %slot, ptr %slot, i32 0, i32 1
  %grain.p = getelementptr %slot, ptr %slot, i32 0, i32 2
  %helpers.p = getelementptr %slot, ptr %slot, i32 0, i32 3
  %args = getelementptr i8, ptr %slot, i64 SLOT_HEAD
  %kernel = load ptr, ptr %kernel.p
  %total = load i64, ptr %total.p
  %grain = load i64, ptr %grain.p
  %helpers = load i32, ptr %helpers.p
  call void @job(ptr %s, i64 %thread, ptr %kernel, ptr %args, i64 %total, i64 %grain, i32 %helpers)
  %one.more = add i64 %number, 1
  store atomic i64 %one.more, ptr %done.p seq_cst, align 8
  %waiting = load atomic i32, ptr %waiting.p seq_cst, align 4
  %asleep = icmp ne i32 %waiting, 0
  br i1 %asleep, label %wake, label %next

wake:
  call void @tell(ptr %s, i32 2147483647)
  br label %next

finish:
  store atomic i32 0, ptr %driven.p seq_cst, align 4
  br label %look                                         ; a job may have been put meanwhile

nothing:
  ret i1 false

over:
  ret i1 %any
}

; A kernel: bytes that stand behind their address and their number.
define void @copy(ptr %args, i64 %begin, i64 %end) {
  %bytes.p = getelementptr i64, ptr %args, i64 1
  %source = getelementptr i64, ptr %args, i64 2
  %target = load ptr, ptr %args
  %bytes = load i64, ptr %bytes.p
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %bytes, i1 false)
  ret void
}

; A kernel: the address of a word, the one of a kernel, and its arguments. It runs unless the word is zero.
define void @conditional(ptr %args, i64 %begin, i64 %end) {
  %kernel.p = getelementptr i64, ptr %args, i64 1
  %inner = getelementptr i64, ptr %args, i64 2
  %word.p = load ptr, ptr %args
  %kernel = load ptr, ptr %kernel.p
  %word = load i64, ptr %word.p
  %some = icmp ne i64 %word, 0
  br i1 %some, label %run, label %done
run:
  call void %kernel(ptr %inner, i64 %begin, i64 %end)
  br label %done
done:
  ret void
}

; Return when the jobs are done that are in the queue now, all but the last `left`; takes part in them.
define void @drain(ptr %s, i64 %left) {
entry:
  %generation.p = getelementptr %state, ptr %s, i32 0, i32 0
  %sleepers.p = getelementptr %state, ptr %s, i32 0, i32 2
  %gate.p = getelementptr %state, ptr %s, i32 0, i32 4
  %limit.p = getelementptr %state, ptr %s, i32 0, i32 12
  %spins.p = getelementptr %state, ptr %s, i32 0, i32 18
  %q = call ptr @queue(ptr %s)
  %put.p = getelementptr %queue, ptr %q, i32 0, i32 0
  %done.p = getelementptr %queue, ptr %q, i32 0, i32 3
  %waiting.p = getelementptr %queue, ptr %q, i32 0, i32 5
  %put = load atomic i64, ptr %put.p seq_cst, align 8
  %target = sub i64 %put, %left
  %spins = load i64, ptr %spins.p
  br label %top

top:
  %i = phi i64 [ 0, %entry ], [ 0, %slept ], [ 0, %worked ], [ %i.next, %again ]
  %seen = load atomic i32, ptr %generation.p seq_cst, align 4
  %done = load atomic i64, ptr %done.p seq_cst, align 8
  %over = icmp sge i64 %done, %target
  br i1 %over, label %out, label %look

look:
  %gate = load atomic i32, ptr %gate.p seq_cst, align 4
  %limit = load atomic i32, ptr %limit.p monotonic, align 4
  %inside = and i32 %gate, 1073741823
  %open = icmp slt i32 %gate, 0
  %room = icmp ult i32 %inside, %limit
  %may = and i1 %open, %room
  br i1 %may, label %enter, label %queue

queue:
  %drove = call i1 @drive(ptr %s, i64 0, i1 true)
  br i1 %drove, label %worked, label %patience

enter:
  %one.more = add i32 %gate, 1
  %tried = cmpxchg ptr %gate.p, i32 %gate, i32 %one.more seq_cst seq_cst
  %entered = extractvalue { i32, i1 } %tried, 1
  br i1 %entered, label %work, label %again

work:
  call void @take_chunks(ptr %s, i64 0)
  %was = atomicrmw sub ptr %gate.p, i32 1 seq_cst
  %was.low = and i32 %was, 2147483647
  %last = icmp eq i32 %was.low, 1073741825
  br i1 %last, label %told, label %served

told:
  call void @futex(ptr %s, ptr %gate.p, i64 129, i32 1)
  br label %served

served:
  ; Nothing is left of this job; the next one changes the generation.
  br label %settle

settle:
  %k = phi i64 [ 0, %served ], [ %k.next, %settle.again ]
  %now = load atomic i32, ptr %generation.p seq_cst, align 4
  %new = icmp ne i32 %now, %seen
  %done.now = load atomic i64, ptr %done.p seq_cst, align 8
  %moved = icmp ne i64 %done.now, %done
  %leave = or i1 %new, %moved
  br i1 %leave, label %worked, label %settle.patience

settle.patience:
  %tired = icmp sge i64 %k, %spins
  br i1 %tired, label %sleep, label %settle.again

settle.again:
  PAUSE
  %k.next = add i64 %k, 1
  br label %settle

worked:
  br label %top

patience:
  %enough = icmp sge i64 %i, %spins
  br i1 %enough, label %sleep, label %again

again:
  PAUSE
  %i.next = add i64 %i, 1
  br label %top

sleep:
  %w.up = atomicrmw add ptr %waiting.p, i32 1 seq_cst
  %s.up = atomicrmw add ptr %sleepers.p, i32 1 seq_cst
  %done.last = load atomic i64, ptr %done.p seq_cst, align 8
  %over.last = icmp sge i64 %done.last, %target
  br i1 %over.last, label %awake, label %doze

doze:
  call void @futex(ptr %s, ptr %generation.p, i64 128, i32 %seen)
  br label %awake

awake:
  %s.down = atomicrmw sub ptr %sleepers.p, i32 1 seq_cst
  %w.down = atomicrmw sub ptr %waiting.p, i32 1 seq_cst
  br label %slept

slept:
  br label %top

out:
  ret void
}
"""

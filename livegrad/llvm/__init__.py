"""From LLVM IR to machine code: the compiler, the helper thread that runs it, and what is kept on disk."""

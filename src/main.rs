// The agent's, not the library's: tests count allocations, and fuzzing watches them, with allocators of their own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    fantail::cli::main()
}

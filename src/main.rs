// Set for the binary, not the library: tests and fuzzing use their own allocators.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    fantail::cli::main()
}

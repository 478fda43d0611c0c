fn main() -> std::process::ExitCode {
    fantail::cli::main()
}

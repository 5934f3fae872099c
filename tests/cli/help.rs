//! Help, completions and the shape of the command line.

use crate::support::Tg;

const COMMANDS: [&str; 11] = [
    "test",
    "run",
    "build",
    "build-if-needed",
    "rebuild",
    "load",
    "load-if-needed",
    "cluster",
    "cache-status",
    "clean",
    "completions",
];

#[test]
fn the_help_shows_commands_and_options() {
    insta::assert_snapshot!(Tg::new().args(["--help"]).run(), @r"
    --- stdout
    Integration tests in Kind: build what changed, load what a node lacks, say why

    Usage: tg [OPTIONS] [COMMAND]

    Commands:
      test             Run the task test-TIER: kind, cached or fast
      run              Run tasks, one behind the other
      build            Build images, whether or not their inputs changed
      build-if-needed  Build images whose inputs changed
      rebuild          Build images without the builder's cache
      load             Load images into every node
      load-if-needed   Load images into the nodes that differ
      cluster          Create, delete or look at the cluster
      cache-status     Show inputs, host image and node images side by side, with what would be done and
                       why
      why              Say why images would be built and loaded, with every difference; or what differs
                       between two keys
      ignore           Look into the ignore rules of a context
      clean            Remove the cluster and the images that tg made
      completions      Print a completion script

    Options:
      -f, --file <PATH>
              The task file, instead of the nearest tasks.toml at or above the working directory
              
              [env: TG_FILE=]

      -C, --directory <DIR>
              Work as if started in this directory

      -l, --list
              List the tasks and images of the task file

      -n, --dry-run
              Show what would be done and why, with the command lines; do nothing

          --force
              Build and load even where nothing differs
              
              [env: TG_FORCE=]

          --verify
              Read every file and ask every node again, whatever is remembered of them
              
              [env: TG_VERIFY=]

      -j, --jobs <N>
              How many images may be built at a time, instead of as many as there are processors
              
              [env: TG_JOBS=]

      -k, --keep-going
              When tests fail, run what does not need them all the same

          --timeline <FILE>
              Draw when each step ran (.svg), or write a trace for a browser (.json)

          --cluster <NAME>
              The Kind cluster, instead of the one that the task file names
              
              [env: KIND_CLUSTER_NAME=]

          --node-image <IMAGE>
              The node image for a cluster that is created
              
              [env: TG_NODE_IMAGE=]

          --json
              Answer on standard output as JSON with a schema version

      -q, --quiet
              Only failures and the tests' own output

      -v, --verbose
              Show what builders and tools print

          --color <WHEN>
              When to use colour

              Possible values:
              - auto:   On a terminal, unless NO_COLOR is set
              - always: Always
              - never:  Never
              
              [default: auto]

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    --- exit 0
    ");
}

#[test]
fn every_command_has_help() {
    let overview = Tg::new().args(["--help"]).run().stdout;
    for command in COMMANDS {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} is not in the overview");
        let output = Tg::new().args([command, "--help"]).run();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{command}");
        let usage = format!("Usage: tg {command}");
        assert!(output.stdout.contains(&usage), "{command}: {}", output.stdout);
    }
}

#[test]
fn the_version_is_the_crates() {
    let output = Tg::new().args(["--version"]).run();
    assert_eq!(
        output.to_string(),
        format!("--- stdout\ntg {}\n--- exit 0", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = Tg::new().args(["completions", shell]).run();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{shell}");
        assert!(output.stdout.contains("cache-status"), "{shell}");
    }
}

#[test]
fn a_reader_of_completions_that_goes_away_is_no_failure() {
    let output = Tg::new().args(["completions", "bash"]).run_with_closed_stdout();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

#[test]
fn a_reader_of_help_that_goes_away_is_no_failure() {
    let output = Tg::new().args(["--help"]).run_with_closed_stdout();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    insta::assert_snapshot!(Tg::new().args(["--lst"]).run(), @r"
    --- stderr
    error: unexpected argument '--lst' found

      tip: a similar argument exists: '--list'

    Usage: tg --list

    For more information, try '--help'.
    --- exit 2
    ");
}

#[test]
fn an_unknown_word_for_an_option_is_a_usage_error() {
    insta::assert_snapshot!(Tg::new().args(["--color", "sometimes"]).run(), @r"
    --- stderr
    error: invalid value 'sometimes' for '--color <WHEN>'
      [possible values: auto, always, never]

    For more information, try '--help'.
    --- exit 2
    ");
}

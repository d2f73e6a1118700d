"""The start, the shell, Windows, and programs that fall without a word of Python."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import row, sign

_ACTIVATE = (
    "start it in the trainer's environment: source venv/bin/activate (Windows: .\\venv\\Scripts\\activate), or python -m "
    "accelerate.commands.launch ...; kohya-runner launch RECIPE finds its environment by itself"
)
_NATIVE = "args: {sdpa: true, xformers: false, max_data_loader_n_workers: 0, optimizer_type: AdamW}   leaves out the packages with native code"

SYSTEM = (
    row(
        "shell-continuation",
        (
            sign(r"(?:^|[\s:])(?P<option>--[A-Za-z][\w-]*(?:[= ]\S{1,100})?): (?:command )?not found"),
            sign(r"Missing expression after unary operator '--'|The term '(?P<option>--[\w=-]{1,100})' is not recognized|'(?P<also>--[\w-]{1,60})' is not recognized as an internal"),
        ),
        "the shell took an option for a command of its own: the command line was cut at the end of the line before",
        "end each line but the last with \\ and nothing after it (PowerShell: `, cmd: ^)",
        source="cocktailpeanut/fluxgym#349; bash(1)",
    ),
    row(
        "shell-crlf",
        r"\$'\\r': command not found|bad interpreter: .{1,100}\^M|/usr/bin/env: .{0,6}(?:bash|python3?)\\r",
        "the script was saved with Windows' line ends",
        "sed -i 's/\\r$//' FILE.sh   (or dos2unix FILE.sh)",
        source="bash(1)",
    ),
    row(
        "accelerate-not-found",
        r"(?:^|[\s:])accelerate: (?:command )?not found|'accelerate' is not recognized|The term 'accelerate' is not recognized|^accelerate not found|'accelerate' \S{1,40}(?:不是|��)"
        r"|No module named accelerate\b|No module named 'accelerate'|accelerate\.exe.{0,60}cannot find|'accelerate' n'est pas reconnu|\"accelerate\" ist nicht gefunden"
        r"|FileNotFoundError: .{0,60}'accelerate'|^'accelerate' .{0,40}\ufffd",
        "the shell finds no accelerate: the trainer's environment is not active, or accelerate is not installed in it",
        _ACTIVATE,
        source="cocktailpeanut/fluxgym#36, #318; bmaltais/kohya_ss#2559",
    ),
    row(
        "script-not-found",
        r"can't open file '(?P<path>[^']{1,300}\.py)'|can't open file \"(?P<file>[^\"]{1,300}\.py)\"",
        "Python does not find the training script {found:path}",
        "start it in the trainer's folder, or give the script's whole path; git submodule update --init where sd-scripts is one",
        source="python(1)",
    ),
    row(
        "program-not-found",
        r"(?:^|[\s:])(?P<program>[A-Za-z][\w.+-]{1,40}): (?:command )?not found$|'(?P<name>[\w.-]{1,60})' is not recognized as an internal or external command"
        r"|The term '(?P<term>[^']{1,80})' is not recognized as (?:the|a) name of a cmdlet",
        "the shell finds no program of that name: it is not installed, or its environment is not active",
        "install it or activate its environment; kohya-runner doctor says what this machine lacks",
        source="bash(1); PowerShell about_Command_Precedence",
        vague=True,
    ),
    row(
        "windows-crash-running",
        (
            sign(r"exit (?:status|code) (?:3221225477|-1073741819)\b|0xC0000005|access violation", before=r"\[steps done: [1-9]"),
            sign(r"exit status 3221226356\b|0xC0000374", before=r"\[steps done: [1-9]"),
        ),
        "native code crashed in the middle of the training (Windows access violation): the GPU's driver, an overclocked or faulty card or "
        "memory, or a package's DLL; no setting of the recipe",
        "resume from the last saved state: kohya-runner launch RECIPE --resume",
        "another driver version, no overclocking, a memory test; " + _NATIVE,
        source="bmaltais/kohya_ss#1710, #2556; learn.microsoft.com NTSTATUS",
    ),
    row(
        "windows-crash",
        r"exit (?:status|code) (?:3221225477|-1073741819|3221226356|3221226505|-1073740791)\b|0xC000(?:0005|0374|0409)|Windows fatal exception: access violation",
        "native code crashed before the first step (Windows access violation): most often too little memory and page file while a model was "
        "loaded, or a DLL (xformers, bitsandbytes, triton) that does not fit this torch or driver",
        "make the page file larger (twice the RAM), close what else takes memory, and update the GPU's driver",
        _NATIVE,
        source="sd-scripts#1737; bmaltais/kohya_ss#390, #2556",
    ),
    row(
        "windows-dll",
        (
            sign(r"exit status (?:3221225781|3221225595|3221225794)\b|0xC00001(?:35|42)|0xC000007B|0x[cC]06[dD]007[eEfF]|procedure entry point .{1,200} could not be located"),
            sign(r"DLL load failed while importing (?P<module>\w+)|WinError (?:126|127|193|1114)\b"),
        ),
        "a DLL is missing, broken, or of another torch, Python or CUDA",
        "install the Visual C++ redistributable (aka.ms/vs/17/release/vc_redist.x64.exe), then build the environment anew: kohya-runner setup "
        "(pip install --force-reinstall torch torchvision)",
        source="pytorch/pytorch#131662, #166628; learn.microsoft.com NTSTATUS",
    ),
    row(
        "cpu-instruction",
        r"died with <Signals\.SIGILL|[Ii]llegal instruction|exit (?:status|code) (?:3221225501|-4|132)\b|0xC000001D|exitcode\s{0,3}: -4\b",
        "a package uses instructions (AVX and the like) that this processor does not have",
        "a machine with a newer processor, or the package without them: pip install numpy torch from their own indexes",
        source="signal(7); learn.microsoft.com NTSTATUS",
    ),
    row(
        "native-crash",
        r"died with <Signals\.SIG(?:SEGV|ABRT|FPE)|[Ss]egmentation fault|exit (?:status|code) (?:-11|139|-6|134)\b|exitcode\s{0,3}: -(?:11|6)\b|Signal (?:11|6) \(SIG"
        r"|^Fatal Python error: (?:Segmentation|Aborted)|free\(\): invalid|double free or corruption|exit status 3221225725\b|0xC00000FD|core dumped",
        "native code crashed (no Python error): a package's library that does not fit this torch, driver or GPU",
        "PYTHONFAULTHANDLER=1 before the start shows where; " + _NATIVE,
        "then kohya-runner setup   builds the environment anew",
        source="signal(7); docs.python.org/library/faulthandler",
    ),
    row(
        "windows-closed",
        r"exit (?:status|code) (?:3221225786|-1073741510)\b|0xC000013A",
        "somebody stopped it: Ctrl-C, or its window was closed",
        "kohya-runner launch RECIPE --resume   resumes from the last saved state",
        source="learn.microsoft.com NTSTATUS",
    ),
    row(
        "file-locked",
        r"WinError (?:32|33|5)\b|user-mapped section|Os \{ code: (?:1224|32|33|5)\b|\(os error (?:1224|32|33|5)\)|being used by another process",
        "another program has the file open (a web UI with this LoRA loaded, a virus scanner, a cloud folder), so Windows does not let the "
        "trainer write or replace it",
        "close what has it loaded (web UI, Explorer's preview, OneDrive), or another args.output_name; exclude the folder from the scanner",
        source="bmaltais/kohya_ss#2466; Nerogar/OneTrainer#592, #659; learn.microsoft.com system error codes",
    ),
    row(
        "console-encoding",
        (
            sign(r"'(?P<codec>charmap|cp\d{3,4}|gbk|gb2312|big5|ascii|latin-1|euc_kr|shift_jis)' codec can't encode", raises="UnicodeEncodeError"),
            sign(r"UnicodeEncodeError: '(?P<codec>charmap|cp\d{3,4}|gbk|ascii|latin-1)' codec can't encode"),
        ),
        "the console's code page ({found:codec}) has no sign for what the trainer prints (its messages are Japanese too)",
        "set PYTHONUTF8=1 in the environment before the start (cmd: set PYTHONUTF8=1; PowerShell: $env:PYTHONUTF8=1; Linux: export)",
        source="sd-scripts#232; docs.python.org/library/os utf8-mode",
    ),
    row(
        "file-encoding",
        sign(r"UnicodeDecodeError: '(?P<codec>charmap|cp\d{3,4}|gbk|gb2312|big5|ascii|euc_kr|shift_jis)' codec can't decode"),
        "a text file (prompts, captions, settings) is UTF-8 and was read in the system's own code page ({found:codec})",
        "set PYTHONUTF8=1 in the environment before the start (cmd: set PYTHONUTF8=1; PowerShell: $env:PYTHONUTF8=1; Linux: export)",
        source="sd-scripts#513; docs.python.org/library/os utf8-mode",
    ),
    row(
        "windows-spawn",
        (
            sign(r"An attempt has been made to start a new process before|Can't pickle local object|cannot pickle '\w+' object|Can't get (?:local )?(?:object|attribute) .{0,80}__mp_main__"),
            sign(r"WinError 3\b|FileNotFoundError", frame=r"popen_spawn_win32"),
            sign(r"Cannot re-initialize CUDA in forked subprocess"),
        ),
        "a data loader worker could not be started: on Windows and macOS each is a new process that gets everything pickled, on Linux a copy that may not use CUDA",
        "args: {max_data_loader_n_workers: 0, persistent_data_loader_workers: false}{now:max_data_loader_n_workers}",
        source="cocktailpeanut/fluxgym#129; docs.python.org multiprocessing",
    ),
    row(
        "windows-path",
        (
            sign(r"WinError 123\b|filename, directory name, or volume label syntax|OSError: \[Errno 22\] Invalid argument: '(?P<path>.{1,300}?)'"),
            sign(r"unicodeescape' codec can't decode"),
        ),
        "a path is written in a way that Windows does not take: a quote or a backslash too many, or \\t and \\n in it read as signs",
        "write paths with / instead of \\, without quotes inside quotes and without a \\ at the end",
        source="learn.microsoft.com system error codes",
    ),
    row(
        "python-version",
        r"requires a different Python|No module named '(?:distutils|imp)'|'pkgutil' has no attribute 'ImpImporter'|unsupported operand type\(s\) for \|: '(?:type|_GenericAlias)'"
        r"|Dynamo is not supported on Python 3\.1\d|module 'distutils' has no attribute|cannot import name '\w+' from 'collections' \(|No matching distribution found for torch\b",
        "this Python is newer or older than the trainer and its packages support",
        "kohya-runner setup   makes an environment with a Python that fits (sd-scripts: 3.10 to 3.12)",
        source="sd-scripts README; docs.python.org whatsnew 3.12",
    ),
    row(
        "windows-symlink",
        r"WinError 1314\b|A required privilege is not held by the client",
        "Windows does not let this user make the links that the Hub's cache consists of",
        "switch on Windows' developer mode, or start it as administrator; export HF_HUB_DISABLE_SYMLINKS=1",
        source="huggingface.co/docs/huggingface_hub manage-cache",
    ),
    row(
        "glibc",
        r"version `(?P<library>GLIBC\w*_[\d.]+)' not found|GLIBCXX_[\d.]+' not found|CXXABI_[\d.]+' not found",
        "the system's C or C++ library is older than a package needs",
        "a newer image (Ubuntu 22.04 or later), or: conda install -c conda-forge libstdcxx-ng",
        source="ld.so(8)",
    ),
    row(
        "file-missing",
        (
            sign(r"(?:FileNotFoundError|NotADirectoryError): .{0,40}(?:No such file or directory|Not a directory|WinError [23]\b).{0,60}: '(?P<path>[^']{1,300})'"),
            sign(r"IsADirectoryError: .{0,40}Is a directory: '(?P<folder>[^']{1,300})'"),
        ),
        "a file or folder that the run names is not there, or is of the other kind: {found:path|folder}",
        "correct the path; in a container or on another machine it must exist there too",
        source="errno(3)",
        vague=True,
    ),
    row(
        "interrupted",
        r"^KeyboardInterrupt|died with <Signals\.SIG(?:INT|TERM|HUP)|ended with signal (?:1|2|15)\b|Received \d+ death signal, shutting down|Signal (?:1|2|15) \(SIG|exit status (?:-15|-2|143|130)\b",
        "somebody stopped the trainer: Ctrl-C, kohya-runner stop, a closed terminal, or the machine's end",
        "kohya-runner launch RECIPE --resume   resumes from the last saved state",
        source="signal(7)",
        vague=True,
    ),
)  # fmt: skip

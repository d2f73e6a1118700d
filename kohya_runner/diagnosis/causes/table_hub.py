"""The Hub: what it refuses, what it does not have, and the ways to it."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

HUB = (
    row(
        "repository-gone",
        sign(r"(?:Repository Not Found|RepositoryNotFoundError|404 Client Error|401 Client Error|not a valid model identifier|does not appear to have a file).{0,400}runwayml"
             r"|runwayml/stable-diffusion-v1-5.{0,200}(?:404|401|not a valid|does not)"),
        "runwayml's repositories were removed from the Hub",
        "model: stable-diffusion-v1-5/stable-diffusion-v1-5   (the same files)",
        source="huggingface.co/stable-diffusion-v1-5; bmaltais/kohya_ss#2777",
    ),
    row(
        "gated",
        r"GatedRepoError|Access to model .{0,200} is restricted|Cannot access gated repo|You are trying to access a gated repo|403 Client Error.{0,200}(?:gated|not in the authorized list|awaiting)"
        r"|you must (?:be authenticated|have access to it)|fine-grained token settings",
        "the repository is gated: its licence is not accepted by this account, or no token of that account was given",
        "accept the licence on the model's page, then: export HF_TOKEN=...   (a read token of that account; a fine-grained one needs access to public gated repositories)",
        source="ostris/ai-toolkit#36, #676; XLabs-AI/x-flux#103; vladmandic/sdnext#4043",
    ),
    row(
        "repository-name",
        sign(r"RepositoryNotFoundError|Repository Not Found", raises="RepositoryNotFoundError|OSError|HfHubHTTPError|EnvironmentError|HTTPError"),
        "the Hub has no repository of this name, or it is private and no token of its owner was given (the Hub answers 401 or 404 for both)",
        "correct the recipe's model: (OWNER/NAME as on its page){now:pretrained_model_name_or_path}; for a private one: export HF_TOKEN=...",
        source="huggingface_hub errors.py",
    ),
    row(
        "token",
        (
            sign(r"Invalid user token|Token is required|Invalid credentials in Authorization header|LocalTokenNotFoundError|401 Client Error|403 Client Error|403 Forbidden"
                 r"|Your (?:token|session) (?:is invalid|has expired)"),
        ),
        "the Hub does not let this account have the files: the repository is private or gated, or the token is wrong",
        "export HF_TOKEN=...   (a read token of an account that may see the model's page); correct the repository's name",
        source="huggingface_hub utils/_http.py",
    ),
    row(
        "rate-limit",
        r"429 Client Error|Too Many Requests|rate limit(?:ed)? .{0,40}(?:Hugging|hub|reached)|We had to rate limit you",
        "the Hub answers no more for a while: too many requests from this address or account",
        "wait some minutes; export HF_TOKEN=... raises the limit; the files that were fetched stay in the cache",
        source="huggingface.co/docs/hub rate-limits",
    ),
    row(
        "certificate",
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSL: \w+|SSLError|self[- ]signed certificate|unable to get local issuer",
        "the connection to the Hub is not trusted: a proxy or virus scanner puts its own certificate in, or the clock is wrong",
        "export REQUESTS_CA_BUNDLE=FILE.pem and SSL_CERT_FILE=FILE.pem   with the proxy's certificate; check the machine's date",
        source="requests docs; sd-scripts#1792",
    ),
    row(
        "proxy",
        r"ProxyError|Tunnel connection failed|Cannot connect to proxy|407 Proxy Authentication|check_hostname requires server_hostname|Unable to connect to proxy",
        "the proxy that is set does not let the Hub through",
        "correct or unset HTTPS_PROXY, HTTP_PROXY and ALL_PROXY before the start",
        source="requests docs",
    ),
    row(
        "download-broken",
        r"Consistency check failed|IncompleteRead|ChunkedEncodingError|Connection broken|Connection aborted|50[0234] Server Error|WinError 100(?:54|60)|Read timed out|ReadTimeoutError|RemoteDisconnected|peer closed connection without sending complete"
        r"|CAS service error|Data processing error.{0,40}CAS|HTTPSConnectionPool.{0,120}timed out",
        "a download from the Hub broke off",
        "start it again: what is there is kept; export HF_HUB_DOWNLOAD_TIMEOUT=60, HF_HUB_DISABLE_XET=1 where it comes again",
        source="huggingface_hub file_download.py; huggingface/xet-core",
    ),
    row(
        "no-network",
        (
            sign(r"We couldn't connect to|Failed to resolve '|NameResolutionError|Max retries exceeded with url|ConnectTimeout|Connection refused.{0,80}hugging"
                 r"|OfflineModeIsEnabled|trying to fetch metadata from the Hub|LocalEntryNotFoundError|outgoing traffic has been disabled|Name or service not known|getaddrinfo failed"
                 r"|Temporary failure in name resolution|Network is unreachable|Cannot find an appropriate cached snapshot|cannot find the requested files in the (?:disk|local) cache"),
            sign(r"Can't load (?:tokenizer|the configuration|the model|image processor|feature extractor) (?:for|of)"),
            sign(r".", raises="TypeError", frame=r"tokenization_clip.{0,60}open\(vocab_file"),
            sign(r"expected str, bytes or os\.PathLike object, not NoneType \[with open\(vocab_file|not a string .{0,40}SentencePieceProcessor_LoadFromFile"),
        ),
        "a file of the Hub is needed (every script loads its tokenizers from there) and the Hub cannot be reached",
        Do("args: {tokenizer_cache_dir: DIR}   with the tokenizers in it, fetched where there is a network",
           unless="tokenizer_cache_dir"),
        "or reach the Hub another way: export HF_ENDPOINT=https://a-mirror; unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE",
        source="library/strategy_sd.py:17; sd-scripts#1792; Akegarasu/lora-scripts#270, #609; bmaltais/kohya_ss#2517",
    ),
    row(
        "no-such-repository",
        r"RepositoryNotFoundError|404 Client Error|is not a local folder and is not a valid model identifier|EntryNotFoundError|RevisionNotFoundError"
        r"|model is not found as a file or in Hugging Face|neither a valid local path nor a valid repo id|HFValidationError|Repo id must|Incorrect path_or_model_id"
        r"|is the correct path to a directory containing|does not appear to have a file named",
        "what is given as a model is neither a file or folder that is there nor a repository (or file) of the Hub",
        "correct the recipe's model:{now:pretrained_model_name_or_path}   a local path must exist on this machine, a Hub name is OWNER/NAME",
        source="library/train_util.py:5527",
    ),
)  # fmt: skip

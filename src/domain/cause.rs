//! Why a tool call failed, who is to blame, and what the persona did next.

use super::labels;

labels! {
    /// Why a tool call failed. It is decided where the call is made, because only there the kind of the error is
    /// known; a text is read only for calls of versions that did not store the cause.
    pub Cause {
        /// The tool answered with an error text.
        Handler = "handler",
        /// The tool answered with an error that has a code in capitals, such as `VAULT_NOT_INITIALISED`.
        Coded = "coded",
        /// The server answered with a JSON-RPC error.
        Rpc = "rpc",
        /// No answer came, or the answer broke off. It is unknown whether the tool ran.
        Cut = "cut",
        /// A policy of the server denied the call.
        ServerPolicy = "server_policy",
        /// The tool was listed at the beginning of the run and is no longer found.
        Vanished = "vanished",
        /// The input does not have the form that the tool's schema or its validation demands.
        RejectedInput = "rejected_input",
        /// The server could not be reached: a 5xx, a refused connection, a lost session, a 401 after a renewal.
        Unreachable = "unreachable",
        /// The model called a tool that does not exist.
        Invented = "invented",
        /// The input that the model wrote is no JSON object.
        BadJson = "bad_json",
        /// This program's own policy denied the call.
        RunnerPolicy = "runner_policy",
        /// The call was given up by a shutdown or a deadline, or this program died during the call.
        Stopped = "stopped",
    }
}

labels! {
    /// Who is to blame for a failed call.
    pub Blame {
        /// The product.
        Product = "product",
        /// The agreement between the tool's schema and its callers.
        Contract = "contract",
        /// The network, a proxy, or a server that is down.
        Infra = "infra",
        /// The model.
        Model = "model",
        /// This program.
        Runner = "runner",
    }
}

labels! {
    /// What the persona did after a failed call.
    pub Next {
        /// The same call again, which succeeded.
        AgainOk = "again-ok",
        /// The same call again, which failed.
        AgainFailed = "again-failed",
        /// Another input, or another tool of the module, which succeeded.
        OtherOk = "other-ok",
        /// Another input, or another tool of the module, which failed.
        OtherFailed = "other-failed",
        /// A tool of another module.
        OtherModule = "other-module",
        /// Nothing: it was the last call of the run.
        Ended = "ended",
    }
}

impl Cause {
    /// Who is to blame for a call that failed for this cause.
    pub fn blame(self) -> Blame {
        match self {
            Self::Handler
            | Self::Coded
            | Self::Rpc
            | Self::Cut
            | Self::ServerPolicy
            | Self::Vanished => Blame::Product,
            Self::RejectedInput => Blame::Contract,
            Self::Unreachable => Blame::Infra,
            Self::Invented | Self::BadJson => Blame::Model,
            Self::RunnerPolicy | Self::Stopped => Blame::Runner,
        }
    }

    /// Whether the failure is pain that the product causes. Only such failures, and successes, make a run exposed.
    pub fn is_pain(self) -> bool {
        matches!(self.blame(), Blame::Product | Blame::Contract)
    }
}

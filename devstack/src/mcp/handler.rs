//! The MCP side of a session: lists the tools, and passes a call through the checks before a tool.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use axum::http::request::Parts;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
        CompleteResult, DiscoverResult, ErrorCode, Implementation, InitializeRequestParams,
        InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
};
use serde_json::{Map, Value, json};

use super::{
    McpOptions, VaultCheck,
    calls::{Behaviour, Call, Calls, Gate, Plans},
    catalog::Tool,
    planted::{self, Effect, Planted, Stage, Target},
    schema,
    sessions::{Exchange, Owners, SessionCaller},
    space::Spaces,
};
use crate::{clock::Clock, jwt::Keys};

/// Newest first, the order in which the TypeScript SDK lists the versions when it refuses another one.
pub(super) const PROTOCOL_VERSIONS: [ProtocolVersion; 4] = [
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2024_11_05,
];
const SESSION_HEADER: &str = "mcp-session-id";

/// The state that all sessions of one server share.
pub(super) struct Shared {
    pub options: McpOptions,
    pub clock: Clock,
    pub keys: Keys,
    pub vault_initialised: VaultCheck,
    pub tools: RwLock<Vec<Arc<Tool>>>,
    pub owners: Owners,
    pub calls: Calls,
    pub plans: Plans,
    pub planted: Planted,
    /// The version that `serverInfo` names.
    pub version: RwLock<String>,
    pub spaces: Spaces,
    pub gate: Gate,
}

impl Shared {
    pub(super) fn tools(&self) -> Vec<Arc<Tool>> {
        self.tools.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a call is answered.
enum Outcome {
    /// With exactly this result.
    Result(Value),
    /// With this JSON-RPC error.
    RpcError(ErrorData),
    /// Without an answer: the stream ends without an event.
    Silence,
}

impl Outcome {
    fn error(text: impl Into<String>) -> Self {
        Self::Result(json!({"content": [{"type": "text", "text": text.into()}], "isError": true}))
    }

    fn is_error(&self) -> Option<bool> {
        match self {
            Self::Result(result) => Some(result["isError"] == true),
            Self::RpcError(_) => Some(true),
            Self::Silence => None,
        }
    }
}

/// The MCP handler of one session.
pub(super) struct Handler {
    shared: Arc<Shared>,
    opened: OnceLock<SessionCaller>,
}

impl Handler {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, opened: OnceLock::new() }
    }

    async fn call(
        &self,
        params: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Outcome {
        let shared = &self.shared;
        let name = params.name.as_ref();
        // Always set: the checks in `door` refuse requests without a caller.
        let Some(opened) = self.opened.get() else {
            return Outcome::error("session has no caller");
        };
        let (session, at) = (session_id(context), shared.clock.calendar());
        let target = Target { persona: &opened.email, session: &session, tool: name, at };
        let listed = shared.tools().into_iter().find(|tool| tool.name == name);
        let is_there = |_: &Arc<Tool>| shared.planted.strike(Stage::Lookup, &target).is_none();
        let Some(tool) = listed.filter(is_there) else {
            return Outcome::error(planted::not_found(name));
        };
        let given = params.arguments.map_or(Value::Null, Value::Object);
        let issues = schema::issues(&tool.input_schema(), &given);
        let Value::Object(arguments) = given else {
            let missing = json!([{"path": "", "message": "Required"}]);
            return Outcome::error(planted::invalid(name, &missing));
        };
        if !issues.is_empty() {
            return Outcome::error(planted::invalid(name, &json!(issues)));
        }
        let (policy, now) = (shared.options.policy, shared.clock.now());
        if let Some(reason) = shared.gate.deny(policy, &opened.user_id, &tool, now) {
            return Outcome::error(planted::denied(name, reason));
        }
        let struck = shared.planted.strike(Stage::Tool, &target);
        let planned = match struck.map(|struck| struck.effect(&target, &arguments)) {
            Some(Effect::Refused(text)) => return Outcome::error(text),
            Some(Effect::Behaves(behaviour)) => Some(behaviour),
            None => shared.plans.take(&tool.name),
        };
        let index = shared.calls.arrived(Call {
            user_id: opened.user_id.clone(),
            space_id: opened.space_id.clone(),
            session_id: session.clone(),
            tool: tool.name.clone(),
            arguments: arguments.clone(),
            persona: opened.email.clone(),
            at,
            is_error: None,
        });
        let outcome = self.behave(planned, &tool, opened, &arguments, context).await;
        if let Some(is_error) = outcome.is_error() {
            shared.calls.ended(index, is_error);
        }
        outcome
    }

    /// The behaviour that was planned for this call, or else the tool's own work.
    async fn behave(
        &self,
        planned: Option<Behaviour>,
        tool: &Tool,
        opened: &SessionCaller,
        arguments: &Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Outcome {
        match planned {
            None => self.work(tool, opened, arguments),
            Some(Behaviour::Result(result)) => Outcome::Result(result),
            Some(Behaviour::IsError(text)) => Outcome::error(text),
            Some(Behaviour::RpcError { code, message }) => {
                Outcome::RpcError(ErrorData::new(ErrorCode(code), message, None))
            }
            Some(Behaviour::Delay(pause)) => {
                // A cancellation does not end the pause: the tools of the real server ignore cancellations.
                tokio::time::sleep(pause).await;
                self.work(tool, opened, arguments)
            }
            Some(Behaviour::NeverAnswers) => {
                context.ct.cancelled().await;
                Outcome::Silence
            }
            Some(Behaviour::EndsStream) => {
                self.work(tool, opened, arguments);
                Outcome::Silence
            }
            Some(Behaviour::Floods(characters)) => match self.work(tool, opened, arguments) {
                Outcome::Result(mut result) if result["isError"] != true => {
                    let flood: String = "Eintrag ".chars().cycle().take(characters).collect();
                    result["content"][0]["text"] = flood.into();
                    Outcome::Result(result)
                }
                failed => failed,
            },
        }
    }

    fn work(&self, tool: &Tool, opened: &SessionCaller, arguments: &Map<String, Value>) -> Outcome {
        let shared = &self.shared;
        // The JWT that the session was opened with; the JWT of this request is not used.
        if let Err(refused) = shared.keys.verify(&opened.token, shared.clock.now()) {
            return Outcome::error(format!("mana-auth answered 401: {refused}"));
        }
        if tool.is_encrypted() && !(shared.vault_initialised)(&opened.user_id) {
            return Outcome::error(
                "VAULT_NOT_INITIALISED: the encryption vault of this user has not been set up yet",
            );
        }
        match shared.spaces.run(tool, &opened.space_id, arguments, shared.clock.calendar()) {
            Ok(answer) => Outcome::Result(json!({
                "content": [{"type": "text", "text": format!("{answer:#}")}],
            })),
            Err(not_found) => Outcome::error(not_found.to_string()),
        }
    }
}

fn session_id(context: &RequestContext<RoleServer>) -> String {
    let parts = context.extensions.get::<Parts>();
    let id = parts.and_then(|parts| parts.headers.get(SESSION_HEADER)?.to_str().ok());
    id.unwrap_or_default().to_owned()
}

fn exchange(context: &RequestContext<RoleServer>) -> Exchange {
    context.extensions.get::<Exchange>().cloned().unwrap_or_default()
}

fn method_not_found<T>() -> Result<T, ErrorData> {
    Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "Method not found", None))
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let version = self.shared.version.read().unwrap_or_else(PoisonError::into_inner);
        let tools = ServerCapabilities::builder().enable_tools().enable_tool_list_changed();
        ServerConfig::new(tools.build())
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
            .with_server_info(Implementation::new("mana", version.clone()))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&PROTOCOL_VERSIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let parts = context.extensions.get::<Parts>();
        if let Some(opened) = parts.and_then(|parts| parts.extensions.get::<SessionCaller>()) {
            // A session is initialised once, so the first caller is kept.
            let _ = self.opened.set(opened.clone());
        }
        self.negotiate_initialize(&request)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.shared.tools();
        let start = match request.and_then(|request| request.cursor) {
            None => 0,
            Some(cursor) => cursor
                .strip_prefix("after-")
                .and_then(|count| count.parse().ok())
                .filter(|count| *count < tools.len())
                .ok_or_else(|| ErrorData::invalid_params("Invalid cursor", None))?,
        };
        let size = self.shared.options.page_size.unwrap_or(usize::MAX);
        let page: Vec<_> = tools.iter().skip(start).take(size).map(|tool| tool.listing()).collect();
        let listed = start + page.len();
        let mut result = json!({"tools": page});
        if listed < tools.len() {
            result["nextCursor"] = format!("after-{listed}").into();
        }
        // rmcp's tool type has no `execution`.
        exchange(&context).answer_verbatim(result);
        Ok(ListToolsResult::default())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let exchange = exchange(&context);
        match self.call(request, &context).await {
            Outcome::Result(result) => {
                exchange.answer_verbatim(result);
                Ok(CallToolResult::default().into())
            }
            Outcome::RpcError(error) => Err(error),
            Outcome::Silence => {
                exchange.end_stream();
                Ok(CallToolResult::default().into())
            }
        }
    }

    // rmcp answers these methods with empty results; a server that declares only tools does not know them.

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        method_not_found()
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        method_not_found()
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        method_not_found()
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        method_not_found()
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        method_not_found()
    }
}

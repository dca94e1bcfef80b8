//! Commands to try, printed with the real addresses and tokens so that the developer can paste them unchanged.

use std::fmt::Write;

use harness::demo::Demo;
use harness::stack::Stack;

/// What `cargo dev run` prints when the stack is ready.
pub fn what_to_try(stack: &mut Stack, demo: &Demo) -> String {
    let control = stack.control_plane_url().to_owned();
    let data = stack.data_planes[0].url().to_owned();
    let token = stack.admin_token.clone();
    // curl resolves *.localhost to the loopback address by itself.
    let port = data.rsplit(':').next().unwrap_or_default().to_owned();
    let (domain, user_token) = (&demo.domain, &demo.token);
    let mut text = format!(
        "
ready

  Console                     {control}/
  Administrator's token       {token}

Create a tenant. The call answers at once, and a worker does the work afterwards:
  curl -sS -X POST {control}/admin/tenants -H 'X-Admin-Token: {token}' \\
    -H 'Content-Type: application/json' -d '{{\"tenant_id\":\"acme\",\"tenant_name\":\"Acme\",\"tenant_domain\":\"acme.localhost\"}}'

Watch its operation, step by step (the answer above contains the id):
  curl -sS -H 'X-Admin-Token: {token}' {control}/admin/operations/OPERATION_ID

Read its events, or follow all events live:
  curl -sS -H 'X-Admin-Token: {token}' {control}/admin/tenants/acme/events
  curl -sSN -H 'X-Admin-Token: {token}' -H 'Accept: text/event-stream' '{control}/admin/events?after=0'

Call the API of the demo tenant by its domain, as the tenant's admin:
  curl -sS -H 'Authorization: Bearer {user_token}' 'http://{domain}:{port}/api/orders'

Suspend the demo tenant, call its API again to see the refusal, then resume the tenant:
  curl -sS -X POST -H 'X-Admin-Token: {token}' -H 'Content-Type: application/json' \\
    -d '{{\"reason\":\"a trial\"}}' {control}/admin/tenants/demo/suspend
  curl -sS -X POST -H 'X-Admin-Token: {token}' {control}/admin/tenants/demo/resume

Logs
"
    );
    for process in stack.processes() {
        let _ = writeln!(text, "  {:<18} {}", process.name(), process.log().display());
    }
    text.push_str("\nIn another terminal: cargo dev status, eval \"$(cargo dev env)\". Ctrl-C stops everything.");
    text
}

/// What `cargo dev up` prints when the stack is ready.
pub fn what_next(stack: &Stack) -> String {
    format!(
        "the stack is up; console: {}/\n  eval \"$(cargo dev env)\"   set its addresses and tokens in this shell\n  \
         cargo dev status         show what runs\n  cargo dev down           stop the stack",
        stack.control_plane_url()
    )
}

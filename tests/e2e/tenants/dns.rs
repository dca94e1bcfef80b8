//! A DNS server on loopback with the answers that a test sets. All other names do not exist.

use anyhow::Result;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::TXT;
use hickory_server::proto::rr::{RData, Record};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UdpSocket;

/// The answer for a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// TXT records, each with several strings.
    Texts(Vec<Vec<String>>),
    /// The name exists and has no such record.
    NoSuchRecord,
    /// The server reports a failure.
    Failure,
    /// The server never answers.
    Nothing,
}

/// Dropping it ends the server.
pub struct Dns {
    /// The address on which the server listens.
    pub address: SocketAddr,
    names: Names,
    _server: Server<Handler>,
}

type Names = Arc<Mutex<HashMap<String, Says>>>;

impl Dns {
    pub async fn start() -> Result<Self> {
        let names = Names::default();
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let mut server = Server::new(Handler(Arc::clone(&names)));
        server.register_socket(socket);
        Ok(Self { address, names, _server: server })
    }

    /// Sets the answer for `name`.
    pub fn say(&self, name: &str, says: Says) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{name}."), says);
    }

    /// Sets one TXT record of one string.
    pub fn say_text(&self, name: &str, text: &str) {
        self.say(name, Says::Texts(vec![vec![text.to_owned()]]));
    }
}

struct Handler(Names);

impl RequestHandler for Handler {
    fn handle_request<'life0, 'life1, 'async_trait, R, T>(
        &'life0 self,
        request: &'life1 Request,
        mut to: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'async_trait>>
    where
        R: 'async_trait + ResponseHandler,
        T: 'async_trait + Time,
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let query = request.request_info().expect("one question at a time").query;
            let name = query.name().to_string();
            let says = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
            let builder = MessageResponseBuilder::from_message_request(request);
            let mut metadata = Metadata::response_from_request(&request.metadata);
            let mut records = Vec::new();
            match says {
                Some(Says::Texts(texts)) => {
                    let name = query.original().name();
                    let record = |text| Record::from_rdata(name.clone(), 0, RData::TXT(TXT::new(text)));
                    records.extend(texts.into_iter().map(record));
                }
                Some(Says::NoSuchRecord) => {}
                Some(Says::Failure) => metadata.response_code = ResponseCode::ServFail,
                Some(Says::Nothing) => std::future::pending().await,
                None => metadata.response_code = ResponseCode::NXDomain,
            }
            let none = std::iter::empty::<&Record>;
            let response = builder.build(metadata, records.iter(), none(), none(), none());
            to.send_response(response).await.expect("an answer can be sent")
        })
    }
}

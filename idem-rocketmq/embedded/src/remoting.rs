//! RocketMQ's remoting protocol, as little of it as a test bench needs: one request at a time, JSON headers.
//!
//! A frame is its length, the header's length, the header and the body (`RemotingCommand` in Apache's sources).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::EmbeddedError;

const PATIENCE: Duration = Duration::from_secs(5);

/// Far above any topic's messages in one answer.
const LONGEST_FRAME: usize = 64 << 20;

pub(super) struct Connection(TcpStream);

#[derive(Debug)]
pub(super) struct Request {
    pub(super) code: i32,
    pub(super) fields: Value,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) code: i64,
    pub(super) remark: String,
    pub(super) fields: Value,
    pub(super) body: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: &str) -> Result<Self, EmbeddedError> {
        TcpStream::connect(address).await.map(Self).map_err(lost)
    }

    pub(super) async fn ask(&mut self, request: Request) -> Result<Response, EmbeddedError> {
        let exchange = async {
            self.0.write_all(&frame(&request)).await?;
            read(&mut self.0).await
        };
        match timeout(PATIENCE, exchange).await {
            Ok(answer) => answer.map_err(lost),
            Err(_) => Err(EmbeddedError::Connection(format!("no answer within {PATIENCE:?}"))),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is called as a mapping of errors")]
fn lost(error: std::io::Error) -> EmbeddedError {
    EmbeddedError::Connection(error.to_string())
}

fn frame(request: &Request) -> Vec<u8> {
    let header = json!({
        "code": request.code, "language": "RUST", "version": 493, "opaque": 1, "flag": 0,
        "serializeTypeCurrentRPC": "JSON", "extFields": request.fields,
    });
    let header = header.to_string().into_bytes();
    let mut frame = Vec::with_capacity(8 + header.len() + request.body.len());
    frame.extend(length(4 + header.len() + request.body.len()));
    frame.extend(length(header.len()));
    frame.extend(header);
    frame.extend(&request.body);
    frame
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Response> {
    let total = stream.read_u32().await? as usize;
    let header = (stream.read_u32().await? & 0x00FF_FFFF) as usize;
    let Some(body) = total.checked_sub(4 + header).filter(|body| *body <= LONGEST_FRAME) else {
        return Err(std::io::Error::other("a frame's lengths contradict each other"));
    };
    let (mut header, mut body) = (vec![0; header], vec![0; body]);
    stream.read_exact(&mut header).await?;
    stream.read_exact(&mut body).await?;
    let header: Value = serde_json::from_slice(&header)?;
    Ok(Response {
        code: header["code"].as_i64().unwrap_or(-1),
        remark: header["remark"].as_str().unwrap_or_default().to_owned(),
        fields: header["extFields"].clone(),
        body,
    })
}

//! An honest publisher that sends small updates as fast as it can, each in a DATA frame of its own
//! as stock clients do, is slowed and not cut.

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use prost::Message;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Server, soon};
use crate::net::frames::framed;

/// Updates of all streams together: many times what HTTP/2 lets lie unread.
const UPDATES: u64 = 24_000;

/// Livestreams 1 to `number`, on air, of broadcaster 1.
pub(crate) async fn go_live(client: &Client, number: u64) {
    let mut livestreams = client.livestreams.clone();
    for livestream_id in 1..=number {
        let create = pb::CreateLivestreamRequest { livestream_id, node_id: 1, ..Default::default() };
        livestreams.create_livestream(create).await.unwrap();
        let start = pb::StartLivestreamRequest { livestream_id, node_id: 1, ..Default::default() };
        livestreams.start_livestream(start).await.unwrap();
    }
}

/// A publish stream, with its opening message sent.
async fn publish(send: &SendRequest<Bytes>, livestream_id: u64) -> (SendStream<Bytes>, RecvStream) {
    let head = Request::post("http://localhost/starling.livestream.v1.LivestreamService/PublishUpdates")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let mut ready = soon(send.clone().ready()).await.unwrap();
    let (response, mut body) = ready.send_request(head, false).unwrap();
    let channels = vec![UpdateChannel::Audio.into()];
    let open = Publish::Open(pb::PublishOpen { livestream_id, node_id: 1, channels, ..Default::default() });
    body.send_data(framed(&pb::PublishUpdatesRequest { message: Some(open) }), false).unwrap();
    (body, soon(response).await.unwrap().into_body())
}

/// Reads acknowledgements up to the last one.
async fn acknowledged(mut events: RecvStream, last: u64) {
    let mut rest = bytes::BytesMut::new();
    loop {
        let data = soon(events.data()).await.expect("the stream goes on").expect("nobody is cut");
        drop(events.flow_control().release_capacity(data.len()));
        rest.extend_from_slice(&data);
        while let Some(length) = rest.get(1..5) {
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if rest.len() < 5 + length {
                break;
            }
            let message = rest.split_to(5 + length);
            let response = pb::PublishUpdatesResponse::decode(&message[5..]).unwrap();
            if let Some(Event::Ack(ack)) = response.event
                && ack.channels[0].accepted_through == last
            {
                return;
            }
        }
    }
}

/// Sends so many updates on each of so many streams, in turn, before anybody else may run, and waits
/// until all are acknowledged.
async fn flood(streams: u64, payload: usize) {
    let server = Server::start().await;
    go_live(&server.client().await, streams).await;
    flood_over(TcpStream::connect(server.address()).await.unwrap(), streams, payload).await;
}

/// The same over a connection of any kind.
pub(crate) async fn flood_over(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    streams: u64,
    payload: usize,
) {
    let (send, connection) = soon(client::handshake(socket)).await.unwrap();
    let mut running = JoinSet::new();
    running.spawn(async move { drop(connection.await) });
    let mut publishing = Vec::new();
    let mut reading = JoinSet::new();
    for livestream in 1..=streams {
        let (body, events) = publish(&send, livestream).await;
        publishing.push(body);
        reading.spawn(acknowledged(events, UPDATES / streams));
    }
    for publisher_sequence in 1..=UPDATES / streams {
        let channel = UpdateChannel::Audio.into();
        let payload = vec![7; payload].into();
        let draft = UpdateDraft { channel, payload, publisher_sequence, ..Default::default() };
        let update = framed(&pb::PublishUpdatesRequest { message: Some(Publish::Update(draft)) });
        for body in &mut publishing {
            body.send_data(update.clone(), false).unwrap();
        }
    }
    while let Some(read) = soon(reading.join_next()).await {
        read.unwrap();
    }
}

#[tokio::test]
async fn one_stream_of_empty_updates_is_acknowledged() {
    flood(1, 0).await;
}

#[tokio::test]
async fn eight_streams_of_tiny_updates_are_acknowledged() {
    flood(8, 10).await;
}

#[tokio::test]
async fn many_streams_of_small_updates_are_acknowledged() {
    flood(64, 0).await;
    flood(64, 100).await;
}

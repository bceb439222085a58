// What everybody writes first, beside the imports of gRPC.
using System;
using System.Threading;
using System.Threading.Tasks;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Starling.Livestream.V1;
using Starling.Swarm.V1;

namespace Example
{
    public static class Client
    {
        public static async Task Main(string[] arguments)
        {
            using (GrpcChannel connection = GrpcChannel.ForAddress(arguments[0]))
            {
                try
                {
                    await Talk(new LivestreamService.LivestreamServiceClient(connection));
                }
                catch (RpcException refused)
                {
                    Console.Error.WriteLine(refused.StatusCode);
                }
            }
        }

        static async Task Talk(LivestreamService.LivestreamServiceClient client)
        {
            JoinLivestreamResponse joined = await client.JoinLivestreamAsync(
                new JoinLivestreamRequest { LivestreamId = 7, NodeId = 2, Mode = ViewerMode.Active });
            await client.PublishUpdateAsync(new PublishUpdateRequest
            {
                LivestreamId = 7,
                NodeId = 2,
                SessionId = joined.SessionId,
                Update = new UpdateDraft { Channel = UpdateChannel.Chat, Payload = ByteString.CopyFromUtf8("hello") },
            });
            using (AsyncServerStreamingCall<SubscribeUpdatesResponse> updates = client.SubscribeUpdates(
                new SubscribeUpdatesRequest { LivestreamId = 7, NodeId = 2, SessionId = joined.SessionId }))
            {
                while (await updates.ResponseStream.MoveNext(CancellationToken.None))
                {
                    foreach (Delivery delivery in updates.ResponseStream.Current.Deliveries)
                    {
                        if (delivery.ItemCase == Delivery.ItemOneofCase.Update)
                        {
                            Console.WriteLine($"{delivery.Update.Payload.Length} bytes");
                        }
                    }
                }
            }
        }
    }
}

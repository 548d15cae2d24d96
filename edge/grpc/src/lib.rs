//! Messages of [gRPC](https://grpc.io/docs/what-is-grpc/core-concepts/) that hold secrets: wiped
//! when they are dropped, and never shown. The generator knows neither, so both are written here.
//!
//! In scope: taking in what `build.rs` generated, and those two properties. Not here: the messages
//! (`edge/link`, `edge/workload`), and the buffers of the transport, which nobody wipes.
//!
//! `build.rs` says `skip_debug` for the messages that are named to [`messages!`]: one that it
//! forgets does not compile.

pub use zeroize::Zeroize;

/// Takes in the messages of a package. Those with a secret are named: `wipes` the member that is
/// the secret, where the message owns it, and `shows` the one member that its `Debug` writes.
///
/// ```text
/// grpc::messages! { "aims.node.v1":
///     Pair { wipes value, shows name }
/// }
/// ```
#[macro_export]
macro_rules! messages {
    ($package:literal: $($message:ident { $(wipes $secret:ident,)? shows $shown:ident })*) => {
        #[allow(
            unreachable_pub,
            clippy::too_many_lines,
            clippy::large_futures,
            clippy::allow_attributes_without_reason,
            reason = "generated: the generator knows nothing of these rules"
        )]
        mod generated {
            ::tonic::include_proto!($package);
        }

        pub(crate) use generated::*;

        $(
            $(
                impl Drop for $message {
                    fn drop(&mut self) {
                        $crate::Zeroize::zeroize(&mut self.$secret);
                    }
                }
            )?

            impl ::std::fmt::Debug for $message {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    let mut shown = f.debug_struct(stringify!($message));
                    shown.field(stringify!($shown), &self.$shown).finish_non_exhaustive()
                }
            }
        )*
    };
}

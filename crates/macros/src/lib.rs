//! The attributes of proactor's runtime. Use them as `#[proactor::main]` and `#[proactor::test]`.

use proc_macro::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ItemFn, LitStr, ReturnType, Token, parse_macro_input};

/// Runs an `async fn main` in a runtime: `#[proactor::main]`.
///
/// | argument | means | default |
/// |---|---|---|
/// | `shape = "shared"` | workers of one port, and any runs any task | yes |
/// | `shape = "per-core"` | a port for each thread, and tasks stay on theirs | |
/// | `threads = N` | so many threads; `N` is an expression of type `usize` | as many as there are processors |
///
/// The function's arguments, if any, are those of the function that is made. It panics if the system has not the descriptors or threads
/// for a runtime; build one with `proactor::rt::Runtime` to handle that.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Arguments);
    expand(&arguments, parse_macro_input!(item as ItemFn), Made::Main).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Runs an `async fn` as a test, in a runtime of its own: `#[proactor::test]`. The arguments are those of `#[proactor::main]`, but that
/// there are two threads by default.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Arguments);
    expand(&arguments, parse_macro_input!(item as ItemFn), Made::Test).unwrap_or_else(syn::Error::into_compile_error).into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Main,
    Test,
}

#[derive(Default)]
struct Arguments {
    per_core: bool,
    threads: Option<Expr>,
}

enum Argument {
    Shape(bool),
    Threads(Expr),
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Argument> {
        let name: syn::Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        if name == "threads" {
            return Ok(Argument::Threads(input.parse()?));
        }
        if name != "shape" {
            return Err(syn::Error::new(name.span(), "there are two arguments: `shape` and `threads`"));
        }
        let shape: LitStr = input.parse()?;
        match shape.value().as_str() {
            "shared" => Ok(Argument::Shape(false)),
            "per-core" => Ok(Argument::Shape(true)),
            _ => Err(syn::Error::new(shape.span(), "the shape is \"shared\" or \"per-core\"")),
        }
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Arguments> {
        let mut arguments = Arguments::default();
        for argument in Punctuated::<Argument, Token![,]>::parse_terminated(input)? {
            match argument {
                Argument::Shape(per_core) => arguments.per_core = per_core,
                Argument::Threads(threads) => arguments.threads = Some(threads),
            }
        }
        Ok(arguments)
    }
}

fn expand(arguments: &Arguments, item: ItemFn, made: Made) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, mut sig, block } = item;
    if sig.asyncness.take().is_none() {
        return Err(syn::Error::new(sig.fn_token.span(), "this runs a future, so the function must be `async`"));
    }
    let builder = match arguments.per_core {
        true => quote!(::proactor::rt::Runtime::per_core()),
        false => quote!(::proactor::rt::Runtime::shared()),
    };
    let threads = match (&arguments.threads, made) {
        (Some(threads), _) => quote_spanned!(threads.span() => .threads(#threads)),
        (None, Made::Test) => quote!(.threads(2)),
        (None, Made::Main) => quote!(),
    };
    let test = (made == Made::Test).then(|| quote!(#[::core::prelude::v1::test]));
    // A block whose type is said gives better errors than one that is inferred.
    let output = match &sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    let typed = match output.to_string().contains("impl ") {
        true => quote!(async move #block),
        false => quote!({
            async fn body<T>(future: impl ::core::future::Future<Output = T>) -> T {
                future.await
            }
            body::<#output>(async move #block)
        }),
    };
    Ok(quote! {
        #(#attrs)*
        #test
        #vis #sig {
            let runtime = #builder #threads.build().expect("the system has what a runtime needs");
            runtime.block_on(#typed)
        }
    })
}

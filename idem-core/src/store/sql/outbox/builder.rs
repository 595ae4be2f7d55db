//! The public types of an outbox: the same for each database.

/// The settings of an outbox: those of a store's connections, and its own times.
macro_rules! outbox_builder {
    ($builder:ident of $outbox:ident: $title:literal, $store:ident, $dialect:ident, $connect:ident) => {
        #[doc = concat!("Settings of a [`", stringify!($outbox), "`]. `Debug` shows no URL and no secret.")]
        #[derive(Clone, Debug)]
        #[must_use = "nothing happens before it is connected"]
        pub struct $builder {
            store: $store,
            times: $crate::store::sql::outbox::OutboxTimes,
        }

        impl $builder {
            fn with(mut store: $store) -> Self {
                let settings = store.settings();
                settings.names = settings.names.clone().of_outbox();
                settings.purge = $crate::store::Purge::off();
                Self { store, times: Default::default() }
            }

            fn on_store(self, change: impl FnOnce($store) -> $store) -> Self {
                Self { store: change(self.store), ..self }
            }

            /// The name of the table of markers: `idem_outbox` unless said otherwise. A second, small table has the same
            /// name with `_meta` behind it. It belongs to one producer group, so two groups in one database need two.
            ///
            /// A name has ASCII letters, digits, `_` and `-`, 48 of them at most; others are an error when it is connected.
            pub fn table(self, name: impl Into<String>) -> Self {
                self.on_store(|store| store.table(name))
            }

            /// How long each step may take: 5 s unless said otherwise, and twice that where it waits for another transaction under
            /// the same key or id. Then it fails as unavailable: of a commit nobody knows whether it was made, and what asks for the
            /// marker says it. It does not bound the local work.
            pub fn response_timeout(self, timeout: ::std::time::Duration) -> Self {
                self.on_store(|store| store.response_timeout(timeout))
            }

            /// How long after its commit a message is sent again that its broker has not confirmed: two minutes unless said
            /// otherwise. Shorter, more messages come twice, which consumers of idem handle once; longer, a message comes later
            /// whose broker has lost it.
            pub fn resend_after(mut self, time: ::std::time::Duration) -> Self {
                self.times.resend_after = time;
                self
            }

            /// How long a marker stays after its message was confirmed, or after its transaction was rolled back: four days
            /// unless said otherwise. It must be longer than a broker may still ask for the transaction, which are the 72 h for
            /// which brokers keep messages, mostly.
            pub fn retention(mut self, time: ::std::time::Duration) -> Self {
                self.times.retention = time;
                self
            }

            /// The pause between two looks for messages that must be sent again, and for markers that can be deleted: 10 s
            /// unless said otherwise. One member of the producer group does it at a time.
            pub fn sweep_every(mut self, time: ::std::time::Duration) -> Self {
                self.times.sweep_every = time;
                self
            }

            /// The migrations as SQL, with the names that are set here, for those who do not let a program create tables.
            ///
            /// # Errors
            /// [`StoreError::is_config`] where a name is refused.
            pub fn migrations(&self) -> Result<String, StoreError> {
                self.store.settings_ref().names.check()?;
                Ok(self.store.dialect().of_outbox().script())
            }

            /// Creates the tables, or brings them up to date. Members that do so at the same time wait for each other, up to ten
            /// minutes.
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($connect), "`](Self::", stringify!($connect), ").")]
            pub async fn migrate(&self) -> Result<(), StoreError> {
                let (settings, dialect, source, name) = self.store.clone().parts()?;
                settings.migrate(dialect.of_outbox(), source, name).await
            }

            #[doc = concat!(
                "Connects to ", $title, ", and checks that server and tables are fit: a marker is written, changed and deleted in a \
                 transaction that is rolled back."
            )]
            ///
            /// # Errors
            /// [`StoreError::is_unavailable`] within 3 s where no server answers; [`StoreError::is_config`] where the URL, a name or
            /// a time is not valid, the server is not fit, or the tables are missing, older or newer than this version needs
            /// them. The text says what to do.
            pub async fn $connect(self) -> Result<$outbox, StoreError> {
                self.times.check()?;
                let (settings, dialect, source, name) = self.store.parts()?;
                let core = settings.open(dialect.of_outbox(), source, name).await?;
                let desk = ::std::sync::Arc::new($crate::store::sql::outbox::OutboxCore::new(core, self.times));
                $crate::store::sql::outbox::probe(&desk).await?;
                Ok($outbox(desk))
            }
        }
    };
}

/// The public type of a dialect's outbox.
macro_rules! sql_outbox {
    ($outbox:ident, $dialect:ident, $connection:ty) => {
        impl ::std::fmt::Debug for $outbox {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let (at, table) = self.0.shown();
                f.debug_struct(stringify!($outbox))
                    .field("at", &at)
                    .field("table", &table)
                    .finish_non_exhaustive()
            }
        }

        impl $crate::outbox::TypedOutbox for $outbox {
            type Connection = $connection;

            fn outbox(&self) -> ::std::sync::Arc<dyn $crate::outbox::Outbox> {
                ::std::sync::Arc::new($crate::store::sql::outbox::SqlOutbox(self.0.clone()))
            }
        }
    };
}

/// Settings that only databases behind a connection have.
macro_rules! server_settings {
    () => {
        /// The schema of the tables, which must exist: as of a store. It is named as a table is.
        pub fn schema(self, name: impl Into<String>) -> Self {
            self.on_store(|store| store.schema(name))
        }

        /// The certificates, in PEM form, that the server's must descend from, as of a store.
        pub fn root_certificates(self, pem: impl Into<Vec<u8>>) -> Self {
            self.on_store(|store| store.root_certificates(pem))
        }

        /// The certificate chain and the key, in PEM form, that idem shows to the server.
        pub fn client_certificate(self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
            self.on_store(|store| store.client_certificate(chain, key))
        }

        /// How many local transactions are open at one time, each on a connection of its own: 16 unless said otherwise, or all
        /// but two of a given pool's. Another eight at most are for everything else.
        pub fn transactions(self, most: u32) -> Self {
            self.on_store(|store| store.transactions(most))
        }
    };
}

pub(in crate::store) use {outbox_builder, server_settings, sql_outbox};
